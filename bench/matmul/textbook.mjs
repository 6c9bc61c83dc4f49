// What a textbook on GPUs teaches: tiles of 32 × 32 in shared memory, 4 × 4 sums per thread.

const WGSL = /* wgsl */ `
  override n: u32;
  @group(0) @binding(0) var<storage, read> a: array<f32>;
  @group(0) @binding(1) var<storage, read> b: array<f32>;
  @group(0) @binding(2) var<storage, read_write> c: array<f32>;
  var<workgroup> left: array<f32, 512>;
  var<workgroup> right: array<f32, 512>;
  @compute @workgroup_size(8, 8)
  fn main(@builtin(local_invocation_id) at: vec3u, @builtin(workgroup_id) tile: vec3u) {
    var sums: array<f32, 16>;
    let thread = at.y * 8u + at.x;
    for (var k0 = 0u; k0 < n; k0 += 16u) {
      for (var q = 0u; q < 8u; q++) {
        let e = thread + q * 64u;
        left[e] = a[(tile.y * 32u + e / 16u) * n + k0 + e % 16u];
        right[e] = b[(k0 + e / 32u) * n + tile.x * 32u + e % 32u];
      }
      workgroupBarrier();
      for (var k = 0u; k < 16u; k++) {
        for (var i = 0u; i < 4u; i++) {
          let x = left[(at.y * 4u + i) * 16u + k];
          for (var j = 0u; j < 4u; j++) { sums[i * 4u + j] += x * right[k * 32u + at.x * 4u + j]; }
        }
      }
      workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
      for (var j = 0u; j < 4u; j++) { c[(tile.y * 32u + at.y * 4u + i) * n + tile.x * 32u + at.x * 4u + j] = sums[i * 4u + j]; }
    }
  }`;

/**
 * @param {import("@tunesmith/tensor").Device} device
 * @returns {import("./rival.mjs").Rival}
 */
export function textbook({ gpu: device, options: { settle } }) {
  const settled = settle ?? ((promise) => promise);
  const module = device.createShaderModule({ code: WGSL });
  return {
    async prepare(n, a, b) {
      const size = 4 * n * n;
      /** @param {Float32Array} data */
      const upload = (data) => {
        const buffer = device.createBuffer({ size, usage: 0x88 });
        device.queue.writeBuffer(buffer, 0, /** @type {Float32Array<ArrayBuffer>} */ (data));
        return buffer;
      };
      const out = device.createBuffer({ size, usage: 0x84 });
      const compute = { module, entryPoint: "main", constants: { n } };
      const pipeline = device.createComputePipeline({ layout: "auto", compute });
      const entries = [upload(a), upload(b), out].map((buffer, binding) => ({ binding, resource: { buffer } }));
      const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
      return {
        async run(times) {
          const encoder = device.createCommandEncoder();
          const pass = encoder.beginComputePass();
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, group);
          for (let i = 0; i < times; i++) pass.dispatchWorkgroups(n / 32, n / 32);
          pass.end();
          device.queue.submit([encoder.finish()]);
          await settled(device.queue.onSubmittedWorkDone());
        },
        async read() {
          const staging = device.createBuffer({ size, usage: 0x9 });
          const encoder = device.createCommandEncoder();
          encoder.copyBufferToBuffer(out, 0, staging, 0, size);
          device.queue.submit([encoder.finish()]);
          await settled(staging.mapAsync(1));
          return new Float32Array(staging.getMappedRange().slice(0));
        },
      };
    },
  };
}
