// Builds the page into the folder on the command line (default: dist): index.html, one script, one style
// sheet. File names contain a hash of the content, so browsers may cache them forever.
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const out = process.argv[2] ?? 'dist';
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

const result = await build({
  entryPoints: ['src/main.js', 'src/style.css'],
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['chrome111', 'firefox120', 'safari16'],
  outdir: out,
  write: false,
  legalComments: 'none',
});

let html = readFileSync('src/index.html', 'utf8');
for (const file of result.outputFiles) {
  const name = file.path.split('/').pop();
  const [stem, ending] = name.split('.');
  const hash = createHash('sha256').update(file.contents).digest('hex').slice(0, 10);
  const hashed = `${stem}.${hash}.${ending}`;
  writeFileSync(join(out, hashed), file.contents);
  html = html.replace(name, hashed);
}
writeFileSync(join(out, 'index.html'), html);
