// A browser with an empty profile, and how it ends. `folder` is for screenshots.

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const PATIENCE = 60_000;
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

export async function launch(folder) {
  const profile = await mkdtemp(join(tmpdir(), "tidegate-browser-"));
  await mkdir(folder, { recursive: true });
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: FLAGS,
    chromiumSandbox: false,
    viewport: { width: 1440, height: 900 },
    colorScheme: "light",
  });
  browser.setDefaultTimeout(PATIENCE);
  const close = async () => {
    await browser.close();
    await rm(profile, { recursive: true, force: true });
  };
  return { browser, close };
}
