import { EngineFailure } from '../engine/failure';

/**
 * Runs a training unless another tab of this page trains: two tabs charging one ledger would each miss
 * the other's steps, and they share one place for the checkpoint. The lock goes with the tab.
 */
export async function alone(train: () => Promise<void>): Promise<void> {
  if (!('locks' in navigator)) return train();
  await navigator.locks.request('vaultlab-training', { ifAvailable: true }, async (lock) => {
    if (lock) return train();
    throw new EngineFailure({
      code: 'notReady',
      message: 'Another tab of this page is training.',
      kept: 'Nothing was started here, and nothing was charged.',
      advice: 'Wait for the other tab to finish, or pause it there, and start again.',
    });
  });
}
