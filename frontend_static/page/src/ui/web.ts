/** Whether an address from a server may be a link: http(s) only. */
export function isWeb(uri: string): boolean {
  try {
    return /^https?:$/.test(new URL(uri).protocol);
  } catch {
    return false;
  }
}
