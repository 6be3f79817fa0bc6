// The page's state, wired once.

import { EngineClient } from '../engine/client';
import { spawnEngineWorker } from '../engine/spawn';
import { watchNetwork } from '../requests/watch';
import { Adapters } from './adapters.svelte';
import { Compare } from './compare.svelte';
import { Data } from './data.svelte';
import { Hub } from './hub.svelte';
import { Intake } from './intake.svelte';
import { Network } from './network.svelte';
import { Notices } from './notices.svelte';
import { Plan } from './plan.svelte';
import { Session } from './session.svelte';
import { Talk } from './talk.svelte';
import { Training } from './training.svelte';

export const network = new Network();
watchNetwork('page', network.add);

export const notices = new Notices();
export const session = new Session(notices, () => new EngineClient(spawnEngineWorker(), network.add));
export const hub = new Hub(session);
export const data = new Data(session);
export const intake = new Intake(data);
export const adapters = new Adapters(session);
export const plan = new Plan(session, data);
export const training = new Training(session, data, adapters);
export const talk = new Talk(session, data);
export const compare = new Compare(talk, adapters);
