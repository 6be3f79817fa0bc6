// Where the hub is, and what its addresses mean.

/** The hub; a build may name a mirror, which the page's policy then allows in its place. */
export const HUB: string = import.meta.env.VITE_HUB_URL ?? 'https://huggingface.co';

/** Serves rows of the hub's data sets as JSON. */
export const ROWS_SERVER: string = import.meta.env.VITE_ROWS_URL ?? 'https://datasets-server.huggingface.co';

/** A repository, and the revision if one was named: a branch, a tag or a commit. */
export interface RepoName {
  repo: string;
  revision: string | null;
}

const OWNER_AND_NAME = /^[A-Za-z0-9][\w.-]*\/[\w][\w.-]*$/;

/** Reads `owner/name`, `owner/name@revision` or a page address of the hub; null if it is none of them. */
export function parseRepo(text: string): RepoName | null {
  const typed = text.trim();
  if (/^https?:\/\//.test(typed)) {
    const url = URL.canParse(typed) ? new URL(typed) : null;
    if (url === null || url.origin !== new URL(HUB).origin) return null;
    const [owner, name, kind, revision] = url.pathname.split('/').filter(Boolean).map(decodeURIComponent);
    const repo = `${owner}/${name}`;
    if (!OWNER_AND_NAME.test(repo)) return null;
    return { repo, revision: kind === 'tree' || kind === 'blob' || kind === 'resolve' ? (revision ?? null) : null };
  }
  const [repo, revision] = typed.split('@', 2);
  return OWNER_AND_NAME.test(repo!) ? { repo: repo!, revision: revision || null } : null;
}

/** Where a file of a repository is downloaded from. */
export function fileUrl(repo: string, commit: string, path: string): string {
  return `${HUB}/${repo}/resolve/${encodeURIComponent(commit)}/${path.split('/').map(encodeURIComponent).join('/')}`;
}

/** Where a visitor reads about a repository and accepts its licence. */
export function repoPage(repo: string): string {
  return `${HUB}/${repo}`;
}
