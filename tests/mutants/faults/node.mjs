/** @type {readonly import("../list.mjs").Mutant[]} */
export default [
  {
    name: "a file's name is durable before its bytes",
    file: "packages/node/src/write-files.ts",
    find: "      await handle.sync();\n    } finally {\n      await handle.close();\n    }\n    await disk.rename(temporary, path);",
    replace: "    } finally {\n      await handle.close();\n    }\n    await disk.rename(temporary, path);",
    tests: ["apps/cli/src/checkpoint-faults.test.ts"],
  },
  {
    name: "a folder is not synced after a rename",
    file: "packages/node/src/write-files.ts",
    find: "  await syncFolder(disk, folder);\n}",
    replace: "}",
    tests: ["apps/cli/src/checkpoint-faults.test.ts"],
  },
  {
    name: "bytes that a disk lost are sealed",
    file: "packages/node/src/write-files.ts",
    find: "      await checkSize(handle, path, bytes);\n",
    replace: "",
    tests: ["apps/cli/src/checkpoint-faults.test.ts"],
  },
  {
    name: "a checkpoint outlives the lines logged before it",
    file: "packages/node/src/write-files.ts",
    find: "      await handle.sync();\n      return size;",
    replace: "      return size;",
    tests: ["apps/cli/src/checkpoint-faults.test.ts"],
  },
  {
    name: "offsets count code points",
    file: "packages/node/src/tokenizer.ts",
    find: "starts[t] = units === undefined ? start : units[start]!;",
    replace: "starts[t] = start;",
    tests: ["packages/node/src/tokenizer.test.ts"],
  },
  {
    name: "kernel choices of another driver are believed",
    file: "packages/node/src/kernel-cache.ts",
    find: ' || file.get("driver") !== driver',
    replace: "",
    tests: ["packages/node/src/kernel-cache.test.ts"],
  },
];
