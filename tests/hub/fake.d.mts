export const COMMIT: string;
export const GOOD_TOKEN: string;
export const OTHER_TOKEN: string;
export const CONFIG: Record<string, unknown>;

export interface Trouble {
  drops: number[];
  truncates: number[];
  corrupt: boolean;
  noRanges: boolean;
  limit: number;
  retryAfter: number;
  errors: number;
  slow: number;
}

export interface LogEntry {
  host: 'hub' | 'storage';
  path: string;
  range: string | null;
  authorization: string | null;
}

export interface FakeHub {
  url: string;
  storageUrl: string;
  repos: Map<string, { gated: boolean; files: Record<string, Buffer> }>;
  rows: Map<string, Record<string, unknown>[]>;
  trouble: Trouble;
  log: LogEntry[];
  fetches(): LogEntry[];
  close(): Promise<void>;
}

export function someModel(bytes: number): Record<string, Buffer>;
export function fakeHub(): Promise<FakeHub>;
