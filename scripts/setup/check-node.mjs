// Imported first by every script: an old Node must hear why it stops, not a syntax error from a dependency.
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(
    `tunesmith needs Node 20.19 or newer; this is Node ${process.versions.node} (${process.execPath}).\n` +
      "fix: install the current LTS release of Node, then run the same command again.\n",
  );
  process.exit(2);
}
