// `npm run test:peft`: adapters there and back between VaultLab and Python's PEFT (tests/peft/roundtrip.py).

import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { capture, main, run } from './process.mjs';
import { setUpBuild } from './setup.mjs';
import { targetDirectory } from './target-directory.mjs';

/** The Python that PYTHON names, else python3, if it has what the round trip imports; else `null`. */
export function findPeftPython() {
  const python = process.env.PYTHON ?? 'python3';
  return capture(python, ['-c', 'import torch, transformers, peft, safetensors']) === null ? null : python;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(() => {
    const python = findPeftPython();
    if (python === null) {
      throw new Error(
        'This needs a Python with the packages of tests/peft/requirements.txt: install them (pip install -r), and name that Python in PYTHON.',
      );
    }
    let vaultlab = process.env.VAULTLAB;
    if (vaultlab === undefined) {
      setUpBuild();
      run('cargo', ['build', '--package', 'vaultlab']);
      vaultlab = path.join(targetDirectory(), 'debug', 'vaultlab');
    }
    if (!existsSync(vaultlab))
      throw new Error(`${vaultlab} does not exist: build it with \`cargo build -p vaultlab\`.`);
    run(python, ['tests/peft/roundtrip.py', '--vaultlab', vaultlab]);
  });
}
