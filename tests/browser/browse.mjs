// Opens HTML files and draws Mermaid pictures in Chromium, and tells what is to be seen.
//
// stdin, JSON: {chromium, playwright, mermaid, jobs}; the first three are paths. A job is one of
//   {html, width, scheme, media, outline, screenshot}: open the file; see seen() for what is told of it, and outline,
//   the tree that a screen reader gets, where it is asked for
//   {text, screenshot}: draw the picture; told: error, labels, foreign (elements that no picture needs)
// stdout, JSON: a list of what was told, one for each job. Each has problems: console errors, errors of the page,
// dialogs; and requests: the addresses that were asked for, but the file's own.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const task = JSON.parse(readFileSync(0, 'utf8'));
const HIGHEST = 4000; // CSS pixels of a screenshot
const { chromium } = createRequire(import.meta.url)(task.playwright);

// Runs in the page.
function seen() {
  const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });

  function texts() {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      const node = walker.currentNode;
      if (!node.data.trim() || !shown(node.parentElement)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      found.push({ node, element: node.parentElement, rects: [...range.getClientRects()] });
    }
    return found;
  }

  function channels(colour) {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  }
  const known = new Map();
  const rgba = (colour) => known.get(colour) ?? known.set(colour, channels(colour)).get(colour);

  function luminance(colour) {
    const [r, g, b] = rgba(colour).slice(0, 3).map((c) => {
      const s = c / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  function ratio(one, other) {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  }
  function background(element) {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (rgba(colour)[3] === 255) return colour;
    }
    return 'white';
  }

  // WCAG 2: 4.5, and 3 for large text
  function faint({ node, element }) {
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    const found = ratio(style.color, background(element));
    return found < least ? [`${node.data.trim()}: ${found.toFixed(2)}`] : [];
  }
  function faintSymbol(element) {
    const found = ratio(getComputedStyle(element).color, background(element));
    return found < 3 ? [`${element.getAttribute('class')}: ${found.toFixed(2)}`] : [];
  }
  function clipped({ node, element, rects }) {
    const box = { left: 0, right: innerWidth, top: -Infinity, bottom: Infinity };
    for (let at = element; at !== document.body; at = at.parentElement) {
      if (getComputedStyle(at).overflow === 'visible') continue;
      const edges = at.getBoundingClientRect();
      box.left = Math.max(box.left, edges.left);
      box.right = Math.min(box.right, edges.right);
      box.top = Math.max(box.top, edges.top);
      box.bottom = Math.min(box.bottom, edges.bottom);
    }
    const inside = (r) => r.left >= box.left - 1 && r.right <= box.right + 1 && r.top >= box.top - 1 && r.bottom <= box.bottom + 1;
    return rects.length && rects.every(inside) ? [] : [node.data.trim()];
  }
  function overlapping(all) {
    // line boxes are higher than letters
    const boxes = all.flatMap(({ node, rects }) => rects.map((r) => ({ node, l: r.left, r: r.right, t: r.top + r.height * 0.2, b: r.bottom - r.height * 0.2 })));
    boxes.sort((a, b) => a.t - b.t);
    const found = [];
    boxes.forEach((one, index) => {
      for (let next = index + 1; next < boxes.length && boxes[next].t < one.b; next += 1) {
        const other = boxes[next];
        if (other.node !== one.node && other.l < one.r - 1 && one.l < other.r - 1) found.push(`${one.node.data} / ${other.node.data}`);
      }
    });
    return found;
  }

  const all = texts();
  return {
    title: document.title,
    width: document.documentElement.scrollWidth,
    height: document.documentElement.scrollHeight,
    text: document.body.innerText,
    guests: [...document.querySelectorAll('.plug .name b')].filter(shown).map((name) => name.textContent),
    faint: [...all.flatMap(faint), ...[...document.querySelectorAll('.symbol')].flatMap(faintSymbol)],
    clipped: all.flatMap(clipped),
    overlapping: overlapping(all),
    smallest: Math.min(...all.map(({ element }) => parseFloat(getComputedStyle(element).fontSize))),
    foreign: document.querySelectorAll('script, img, iframe, object, embed, link, [onerror], [onload], [style]').length,
    broken: [...document.querySelectorAll('a[href], [aria-labelledby]')].filter(
      (element) => !document.getElementById(element.getAttribute('aria-labelledby') ?? element.getAttribute('href').slice(1)),
    ).length,
  };
}

// Runs in the page.
async function drawn(text) {
  const { mermaid } = globalThis;
  mermaid.initialize({ startOnLoad: false, securityLevel: 'strict' });
  try {
    await mermaid.parse(text);
    const { svg } = await mermaid.render('picture', text);
    document.body.innerHTML = svg;
  } catch (error) {
    return { error: String(error.message ?? error), labels: [], foreign: 0 };
  }
  const labels = document.querySelectorAll('.nodeLabel, .edgeLabel p, .cluster-label .nodeLabel');
  return {
    error: null,
    labels: [...new Set([...labels].map((label) => label.innerText.trim()).filter(Boolean))],
    foreign: document.querySelectorAll('body script, body img, body iframe, body object, body a').length,
  };
}

async function openPage(page, job) {
  await page.goto(pathToFileURL(job.html).href);
  const told = await page.evaluate(seen);
  told.outline = job.outline ? await page.locator('body').ariaSnapshot() : '';
  return told;
}

async function drawPicture(page, job) {
  await page.setContent('<!doctype html><title>picture</title><body></body>');
  await page.addScriptTag({ path: task.mermaid });
  return page.evaluate(drawn, job.text);
}

// A picture of a whole long page takes seconds.
async function picture(page, path) {
  const size = await page.evaluate(() => ({ width: innerWidth, height: document.documentElement.scrollHeight }));
  await page.screenshot({ path, fullPage: true, clip: { x: 0, y: 0, width: size.width, height: Math.min(size.height, HIGHEST) } });
}

async function run(browser, job) {
  const context = await browser.newContext({
    viewport: { width: job.width ?? 1400, height: 900 },
    colorScheme: job.scheme ?? 'light',
  });
  const page = await context.newPage();
  const problems = [];
  const requests = [];
  const own = job.html ? pathToFileURL(job.html).href : 'about:blank';
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('dialog', (dialog) => { problems.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('request', (request) => request.url() !== own && requests.push(request.url()));
  if (job.media) await page.emulateMedia({ media: job.media });
  const told = await (job.html ? openPage(page, job) : drawPicture(page, job));
  if (job.screenshot) await picture(page, job.screenshot);
  await context.close();
  return { ...told, problems, requests };
}

// as root Chromium has no sandbox; it opens what these tests wrote
const browser = await chromium.launch({ executablePath: task.chromium, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
const results = [];
try {
  for (const job of task.jobs) results.push(await run(browser, job));
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(results));
