// Runs in a process of its own: renders one template and says what that took. The template comes on stdin.

import { readFileSync } from "node:fs";
import { compileTemplate } from "../src/chat-template/template.ts";

const conversation = {
  messages: [
    { role: "user", content: "Hi 🦊" },
    { role: "assistant", content: "Ho" },
  ],
  addGenerationPrompt: false,
  bosToken: "<s>",
  eosToken: "</s>",
  now: new Date(0),
} as const;

/** Bytes. Linux keeps the parent's peak in `maxRSS` across fork and exec; `VmHWM` begins with this process. */
function peakRss(): number {
  try {
    return 1024 * Number(/^VmHWM:\s*(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))![1]);
  } catch {
    return 1024 * process.resourceUsage().maxRSS;
  }
}

const source = readFileSync(0, "utf8");
compileTemplate("{% for m in messages %}{{ m.content }}{% endfor %}", "warm").render(conversation);
const before = process.memoryUsage().rss;
const cpu = process.cpuUsage();
const started = performance.now();
let outcome: { code: string; message?: string; length?: number };
try {
  const template = compileTemplate(source, "hostile");
  outcome = { code: "RENDERED", length: template.renderWithSpans(conversation).text.length };
} catch (error) {
  const { code = "UNTYPED", message } = error as { code?: string; message: string };
  outcome = { code, message: message.slice(0, 200) };
}
const wall = performance.now() - started;
const { user, system } = process.cpuUsage(cpu);
const grown = peakRss() - before;
process.stdout.write(JSON.stringify({ ...outcome, wall, cpu: (user + system) / 1000, grown }));
