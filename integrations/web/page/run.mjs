// Serves this folder on this machine alone, opens its page in headless Chromium, and repeats what
// the tests say: `node run.mjs [WORD]` runs the tests whose names have the word. CHROMIUM names the
// browser. WebGPU is computed by SwiftShader, on the CPU, so that every machine can.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { chromium } from "playwright-core";

const FOLDER = import.meta.dirname;
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
const MINUTES = 10;

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu-sandbox",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const server = createServer(async (request, response) => {
  const path = normalize(new URL(request.url, "http://localhost").pathname);
  try {
    const file = await readFile(join(FOLDER, path));
    response.setHeader("Content-Type", TYPES[extname(path)] ?? "application/octet-stream");
    response.end(file);
  } catch {
    response.statusCode = 404;
    response.end();
  }
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: FLAGS,
});
let failed = false;
let passed = -1;
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(MINUTES * 60_000);
  page.on("console", (message) => {
    const text = message.text();
    failed ||= text.startsWith("FAILED") || message.type() === "error";
    console.log(text);
  });
  page.on("pageerror", (error) => {
    failed = true;
    console.log(`FAILED: ${error}`);
  });
  const word = encodeURIComponent(process.argv[2] ?? "");
  await page.goto(`http://127.0.0.1:${server.address().port}/index.html?word=${word}`);
  const ended = await page.waitForFunction(() => window.passed !== undefined);
  await ended.dispose();
  passed = await page.evaluate(() => window.passed);
} catch (error) {
  failed = true;
  console.log(`FAILED: ${error}`);
} finally {
  await browser.close();
  server.close();
}
failed ||= passed < 1;
console.log(`${Math.max(passed, 0)} passed, ${failed ? 1 : 0} failed`);
process.exitCode = failed ? 1 : 0;
