import { strFromU8, strToU8, unzipSync, zipSync } from 'fflate';
import { expect, it } from 'vitest';
import { admitsNoPrivacy, claim, fileSafe, packAdapter, unpackAdapter } from './archive';

const config = { name: 'adapter_config.json', bytes: strToU8('{"peft_type":"LORA"}') };
const weights = { name: 'adapter_model.safetensors', bytes: Uint8Array.from({ length: 500 }, (_, index) => (index * 37) % 256) };
const privacy = { name: 'privacy_statement.txt', bytes: strToU8('ε ≤ 7.9 at δ = 1e-5') };

const blob = (bytes: Uint8Array): Blob => new Blob([bytes as Uint8Array<ArrayBuffer>]);

it('gives back the same files from its own archive', async () => {
  const archive = packAdapter([config, weights, privacy]);
  const files = await unpackAdapter([{ name: 'private.zip', blob: blob(archive) }]);
  expect(files).toEqual([config, weights, privacy]);
});

it('writes archives that other tools read', () => {
  const entries = unzipSync(packAdapter([config, weights]));
  expect(Object.keys(entries)).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
  expect(strFromU8(entries['adapter_config.json']!)).toBe('{"peft_type":"LORA"}');
});

it('finds the files in a folder of an archive, and leaves others out', async () => {
  const archive = zipSync({ 'adapter/adapter_config.json': config.bytes, 'adapter/adapter_model.safetensors': weights.bytes, 'adapter/optimizer.pt': weights.bytes });
  const files = await unpackAdapter([{ name: 'from-python.zip', blob: blob(archive) }]);
  expect(files.map((file) => file.name)).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
});

it('takes the two files as they are', async () => {
  const files = await unpackAdapter([
    { name: 'adapter_model.safetensors', blob: blob(weights.bytes) },
    { name: 'adapter_config.json', blob: blob(config.bytes) },
  ]);
  expect(files).toEqual([weights, config]);
});

it('says which file is missing', async () => {
  await expect(unpackAdapter([{ name: 'adapter_config.json', blob: blob(config.bytes) }])).rejects.toMatchObject({
    report: { code: 'badAdapter', message: expect.stringContaining('adapter_model.safetensors is not') },
  });
});

it('refuses a mangled archive', async () => {
  await expect(unpackAdapter([{ name: 'broken.zip', blob: blob(weights.bytes) }])).rejects.toMatchObject({
    report: { code: 'badAdapter', message: expect.stringContaining('not a readable zip') },
  });
});

it('makes file names that every system accepts', () => {
  expect([' my adapter/ε=8 ', '..', 'private-2'].map(fileSafe)).toEqual(['my-adapter-8', 'adapter', 'private-2']);
});

it('reads what an adapter says of its privacy', () => {
  const without = { name: 'privacy_statement.txt', bytes: strToU8('Trained WITHOUT PRIVACY, for comparison only.') };
  expect(admitsNoPrivacy([config, weights, without])).toBe(true);
  expect(admitsNoPrivacy([config, weights, privacy])).toBe(false);
  expect(claim([config, weights, privacy])).toBe('ε ≤ 7.9 at δ = 1e-5');
  expect(claim([config, weights])).toBeNull();
});
