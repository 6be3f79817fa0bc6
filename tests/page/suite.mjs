// Tests over the page with the scripted engine.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { buildPageWith, host, open } from './page.mjs';

/** Builds and serves the scripted page for the tests of one file. */
export function scriptedSuite() {
  let hosted;
  before(async () => {
    hosted = await host(buildPageWith('engine'));
  });
  after(() => hosted?.close());

  return {
    site: () => hosted,
    /** Runs a test on a page of its own; anything on the console that is an error fails it. */
    onPage(name, body, options) {
      test(name, async () => {
        const opened = await open(hosted, options);
        try {
          await body(opened);
          assert.deepEqual(opened.errors, []);
        } finally {
          await opened.close();
        }
      });
    },
  };
}
