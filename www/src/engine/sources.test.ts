import { afterEach, expect, it, vi } from 'vitest';
import { type DownloadProgress, openSources } from './sources';

afterEach(() => vi.unstubAllGlobals());

const bytes = Uint8Array.from({ length: 1000 }, (_, index) => index % 251);

/** A server that sends the bytes in chunks and says how many there will be. */
function serve(body: Uint8Array<ArrayBuffer>, headers: Record<string, string>): void {
  vi.stubGlobal('fetch', async () => {
    let at = 0;
    const stream = new ReadableStream({
      pull(controller) {
        if (at >= body.length) controller.close();
        else controller.enqueue(body.slice(at, (at += 300)));
      },
    });
    return new Response(stream, { headers });
  });
}

const remote = [{ kind: 'url' as const, name: 'model.safetensors', url: 'https://example.org/model.safetensors' }];
const never = new AbortController().signal;

it('reads any slice of a file', async () => {
  const [source] = await openSources([{ kind: 'file', name: 'rows.csv', file: new Blob([bytes]) }], never, () => {});
  expect(source!.size).toBe(1000);
  expect(await source!.read(10, 20)).toEqual(bytes.slice(10, 20));
  expect(await source!.read(990, 1000)).toEqual(bytes.slice(990));
});

it('downloads an address with rising progress and the same bytes', async () => {
  serve(bytes, { 'content-length': '1000' });
  const seen: DownloadProgress[] = [];
  const [source] = await openSources(remote, never, (progress) => seen.push(progress));
  expect(await source!.read(0, 1000)).toEqual(bytes);
  expect(seen.map((progress) => progress.done)).toEqual([300, 600, 900, 1000]);
  expect(seen.every((progress) => progress.total === 1000)).toBe(true);
  expect(seen.at(-1)!.etaSeconds).toBe(0);
});

it('does not believe the length of compressed bytes', async () => {
  serve(bytes, { 'content-length': '400', 'content-encoding': 'gzip' });
  const seen: DownloadProgress[] = [];
  await openSources(remote, never, (progress) => seen.push(progress));
  expect(seen.at(-1)).toMatchObject({ done: 1000, total: 0, etaSeconds: null });
});

it('refuses a download that was cut short', async () => {
  serve(bytes.slice(0, 700), { 'content-length': '1000' });
  await expect(openSources(remote, never, () => {})).rejects.toMatchObject({
    report: { code: 'network', message: expect.stringContaining('700 of 1000') },
  });
});

it('reports a server error with its status', async () => {
  vi.stubGlobal('fetch', async () => new Response('gone', { status: 404 }));
  await expect(openSources(remote, never, () => {})).rejects.toMatchObject({
    report: { code: 'network', message: expect.stringContaining('404') },
  });
});
