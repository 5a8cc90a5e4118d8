// Builds the page into the folder named on the command line (default: dist): one script, one style
// sheet, index.html. File names carry a hash so that browsers may keep them for ever.
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
