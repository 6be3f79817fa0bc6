// The visitor's right to read gated repositories: a token, typed in or from signing in. It stays in memory unless the
// visitor asks for more.

import { keptSettings } from '../storage/keep';
import { HUB } from './address';

const SETTING = 'hubToken';
const CLIENT_ID: string | undefined = import.meta.env.VITE_HF_CLIENT_ID;

/** Whether this build has an OAuth app to sign in with. */
export const CAN_SIGN_IN = Boolean(CLIENT_ID);

/** A token as typed: without blanks, and null when empty. */
export function cleanToken(typed: string): string | null {
  return typed.trim() === '' ? null : typed.trim();
}

export function rememberedToken(): Promise<string | null> {
  return keptSettings.load<string>(SETTING);
}

/** Stores the token in this browser, or forgets the stored one. */
export function rememberToken(token: string | null): Promise<void> {
  return keptSettings.save(SETTING, token);
}

/** Leaves for the hub's sign-in page, which comes back here. */
export async function signIn(): Promise<void> {
  const { oauthLoginUrl } = await import('@huggingface/hub');
  const redirectUrl = location.origin + location.pathname;
  location.href = await oauthLoginUrl({ clientId: CLIENT_ID!, hubUrl: HUB, redirectUrl, scopes: 'openid profile read-repos' });
}

/** The token of a sign-in that has just come back; null if there is none. The address loses its one-time code. */
export async function signedIn(): Promise<string | null> {
  const { searchParams } = new URL(location.href);
  if (!CAN_SIGN_IN || !(searchParams.has('code') || searchParams.has('error'))) return null;
  const { oauthHandleRedirectIfPresent } = await import('@huggingface/hub');
  try {
    const result = await oauthHandleRedirectIfPresent({ hubUrl: HUB });
    return result === false ? null : result.accessToken;
  } finally {
    history.replaceState(null, '', location.pathname);
  }
}
