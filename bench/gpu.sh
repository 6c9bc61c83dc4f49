#!/usr/bin/env bash
# Runs every benchmark on the GPU of this machine, one after the other, and collects tables and JSON lines.
#   bash bench/gpu.sh [--quick] [--torch PYTHON] [--only NAMES] [--out DIR]
#   bash bench/gpu.sh --pack DIR
# --quick  sizes that a software device does in minutes
# --torch  a Python with torch, transformers and peft; default: python3, if it has them
# --only   some of: matmul,peers,step,qlora,profile,host,growth
# --out    default bench/results/gpu
# --pack   makes DIR: the compiled packages, these scripts, Node, Dawn and the Vulkan loader, about 40 MB, for a machine
#          of the same kind (x86-64 Linux with a driver) that needs neither network nor set-up: bash DIR/bench/gpu.sh
# Needs a build (npm run build). Bash, because a machine that is lent for minutes may have nothing else.
set -euo pipefail
PATH=$PATH:/sbin:/usr/sbin # ldconfig
root=$(cd "$(dirname "$0")/.." && pwd)
quick=; torch=; only=matmul,peers,step,qlora,profile,host,growth; out=$root/bench/results/gpu; pack=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1; shift ;;
    --torch) torch=$2; shift 2 ;;
    --only) only=$2; shift 2 ;;
    --out) mkdir -p "$2"; out=$(cd "$2" && pwd); shift 2 ;;
    --pack) mkdir -p "$2"; pack=$(cd "$2" && pwd); shift 2 ;;
    *) echo "gpu.sh: unknown option $1" >&2; exit 2 ;;
  esac
done

make_pack() {
  cd "$root"
  local package dependency real
  mkdir -p "$pack/node_modules/@tunesmith" "$pack/scripts" "$pack/runtime/deb"
  cp -R bench "$pack/"
  cp -R scripts/setup "$pack/scripts/"
  # other frameworks, where bench/peers/run.mjs and bench/matmul.mjs have found them
  for package in peers peers-run; do
    [ ! -d ".cache/$package/node_modules" ] || { mkdir -p "$pack/.cache"; cp -RL ".cache/$package" "$pack/.cache/"; }
  done
  echo '{"type": "module", "private": true}' > "$pack/package.json"
  for package in packages/*/; do
    [ -d "$package/dist" ] || continue
    local to=$pack/node_modules/@tunesmith/$(basename "$package")
    mkdir -p "$to"
    cp -R "$package/dist" "$package/package.json" "$to/"
    # what it depends on, and what that depends on: the neighbours of its real folder
    for dependency in $(node -p "Object.keys(require('./$package/package.json').dependencies ?? {}).filter((d) => !d.startsWith('@tunesmith/')).join(' ')"); do
      real=$(readlink -f "$package/node_modules/$dependency")
      cp -RLn "$(dirname "$real")"/. "$pack/node_modules/"
    done
  done
  find "$pack/node_modules/tokenizers" -name '*.node' ! -name '*.linux-x64-gnu.node' -delete
  find "$pack/node_modules/webgpu/dist" -mindepth 1 -maxdepth 1 ! -name linux-x64 -exec rm -rf {} +
  xz -T0 -6 "$pack/node_modules/webgpu/dist/linux-x64/dawn.node"
  xz -T0 -6 -c "$(node -p process.execPath)" > "$pack/runtime/node.xz"
  (cd "$pack/runtime/deb" && apt-get -qq download libvulkan1 xz-utils) || echo "gpu.sh: packed without the Vulkan loader and xz: that machine must have them" >&2
  du -sh "$pack"
}
if [ -n "$pack" ]; then make_pack; exit; fi

# What a pack carries is unpacked beside nothing of the user's; a clone uses what it has.
unpack() {
  local runtime=${TMPDIR:-/var/tmp}/tunesmith-gpu-$(id -u) deb dawn=$root/node_modules/webgpu/dist/linux-x64/dawn.node
  mkdir -p "$runtime"
  if ! command -v xz > /dev/null; then
    for deb in "$root"/runtime/deb/xz-utils_*.deb; do dpkg -x "$deb" "$runtime/xz"; done
    PATH=$runtime/xz/usr/bin:$PATH
  fi
  [ -x "$runtime/node" ] || { xz -dc "$root/runtime/node.xz" > "$runtime/node.part"; chmod +x "$runtime/node.part"; mv "$runtime/node.part" "$runtime/node"; }
  [ -f "$dawn" ] || xz -dk "$dawn.xz"
  node=$runtime/node
  if ! ldconfig -p | grep -q 'libvulkan\.so\.1'; then
    for deb in "$root"/runtime/deb/libvulkan1_*.deb; do dpkg -x "$deb" "$runtime/vulkan"; done
    export LD_LIBRARY_PATH=$runtime/vulkan/usr/lib/x86_64-linux-gnu:${LD_LIBRARY_PATH:-}
  fi
}
node=$(command -v node || true)
[ ! -f "$root/runtime/node.xz" ] || unpack
[ -n "$node" ] || { echo "gpu.sh: there is no Node" >&2; exit 2; }
# containers often mount NVIDIA's driver without telling the loader
if [ -z "${VK_DRIVER_FILES:-}" ]; then
  icd=$(find /usr/local/nvidia/share /usr/share/vulkan /etc/vulkan -name 'nvidia_icd*.json' 2> /dev/null | head -1 || true)
  [ -z "$icd" ] || export VK_DRIVER_FILES=$icd
fi
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
if [ -z "$torch" ] && python3 -c 'import torch, transformers, peft' 2> /dev/null; then torch=python3; fi
rival=()
if [ -n "$torch" ]; then
  rival=(--torch "$torch" --rival "$("$torch" -c 'import trl, datasets; print("trl")' 2> /dev/null || echo peft)")
fi

cd "$root"
mkdir -p "$out"
failed=
# run NAME TITLE COMMAND...: one benchmark, if it was asked for
run() {
  local name=$1 title=$2; shift 2
  case ,$only, in *,"$name",*) ;; *) return 0 ;; esac
  echo "== $title"
  if "$@" 2> "$out/$title.err" | tee "$out/$title.txt"; then :; else failed="$failed $title"; tail -5 "$out/$title.err" >&2; fi
}
if [ -n "$quick" ]; then
  run matmul matmul "$node" bench/matmul.mjs --sizes 256 --rounds 2
  [ -z "$torch" ] || run matmul matmul-torch "$torch" bench/children/matmul.py 256
  run peers peers "$node" bench/peers/run.mjs --rounds 1
  run step step "$node" bench/step.mjs --shape stories260k --length 128 --steps 2 --rounds 1 --out "$out/step.jsonl" "${rival[@]}"
  run qlora qlora "$node" bench/qlora.mjs --shape stories260k --length 128 --rounds 1
  run profile profile "$node" bench/profile.mjs --shape stories260k --length 128 --folder "$out/profile" --out "$out/profile.jsonl"
  [ ! -f bench/host.mjs ] || run host host "$node" --expose-gc bench/host.mjs --replays 50
  run growth growth "$node" bench/growth.mjs --shape stories260k --lengths 64,128,256 --rows 1,2 --row-length 64 --steps 1 --out "$out/growth.jsonl" "${rival[@]}"
else
  run matmul matmul "$node" bench/matmul.mjs --sizes 1024,2048,4096
  [ -z "$torch" ] || run matmul matmul-torch "$torch" bench/children/matmul.py 1024,2048,4096
  run matmul shapes "$node" bench/matmul/shapes.mjs
  run peers peers "$node" bench/peers/run.mjs --rounds 3
  run step step "$node" bench/step.mjs --shape stories260k --shape stories15m --shape smollm2-135m --shape qwen2.5-0.5b --shape llama-3.2-1b \
    --rows 4 --length 1024 --weights bf16 --weights f32 --out "$out/step.jsonl" "${rival[@]}"
  run step step-short "$node" bench/step.mjs --shape smollm2-135m --shape llama-3.2-1b --rows 1 --length 256 --out "$out/step-short.jsonl" "${rival[@]}"
  run qlora qlora "$node" bench/qlora.mjs --shape llama-3.2-1b --rows 4 --length 1024 --out "$out/qlora.jsonl"
  run profile profile "$node" bench/profile.mjs --shape llama-3.2-1b --rows 4 --length 1024 --folder "$out/profile" --out "$out/profile.jsonl"
  [ ! -f bench/host.mjs ] || run host host "$node" --expose-gc bench/host.mjs
  run growth growth "$node" bench/growth.mjs --shape smollm2-135m --lengths 128,256,512,1024,2048,4096 --rows 1,2,4,8,16 --out "$out/growth.jsonl" "${rival[@]}"
fi
echo "tables and JSON lines: $out"
[ -z "$failed" ] || { echo "gpu.sh: failed:$failed" >&2; exit 1; }
