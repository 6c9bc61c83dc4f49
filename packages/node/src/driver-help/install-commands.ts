// How each distribution names Mesa's software Vulkan driver ("lavapipe") and the Vulkan loader.

import type { OsRelease } from "./os-release.ts";

/** Debian releases whose own Mesa is older than 23.2; their backports have a newer one. */
const DEBIAN_BACKPORTS = ["bookworm"];
const MANAGERS: readonly (readonly [ids: readonly string[], commands: readonly string[]])[] = [
  [["debian", "ubuntu"], ["apt-get update && apt-get install --no-install-recommends mesa-vulkan-drivers libvulkan1"]],
  [["fedora", "rhel", "centos"], ["dnf install mesa-vulkan-drivers vulkan-loader"]],
  [["arch"], ["pacman -S vulkan-swrast vulkan-icd-loader"]],
  [["suse", "opensuse"], ["zypper install libvulkan_lvp libvulkan1"]],
  [["gentoo"], ["USE=vulkan VIDEO_CARDS=lavapipe emerge media-libs/mesa media-libs/vulkan-loader"]],
  [["void"], ["xbps-install -S mesa-vulkan-lavapipe vulkan-loader"]],
];

/** The commands, to be run as root, that install the driver on this distribution; untried ones say so. */
export function installCommands(os: OsRelease | undefined): string[] {
  const ids = os === undefined ? [] : [os.id, ...os.idLike];
  const known = ids
    .flatMap((id) => MANAGERS.filter(([names]) => names.some((name) => id === name || id.startsWith(`${name}-`))))
    .at(0);
  if (os === undefined || known === undefined) {
    return [
      `install Mesa 23.2 or newer with its software Vulkan driver (lavapipe) and the Vulkan loader from ${os?.prettyName ?? "your distribution"}, then try again`,
    ];
  }
  const [names, commands] = known;
  const untried = names[0] === "debian" ? [] : [`(not tried on ${os.prettyName}: please report what happened)`];
  return ["as root:", ...(DEBIAN_BACKPORTS.includes(os.codename) ? backports(os.codename) : commands), ...untried];
}

/** Takes the archive's address from the machine's own sources: it may use a mirror. */
function backports(codename: string): string[] {
  const archive = `$(apt-get indextargets --format '$(REPO_URI)' 'Codename: ${codename}' | head -n 1)`;
  return [
    `echo "deb ${archive} ${codename}-backports main" > /etc/apt/sources.list.d/${codename}-backports.list`,
    `apt-get update && apt-get install --no-install-recommends -t ${codename}-backports mesa-vulkan-drivers libvulkan1`,
  ];
}
