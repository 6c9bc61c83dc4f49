/** FNV-1a over the UTF-16 code units of `text`, finished with an avalanche: a u32 that is stable for ever. */
export function hash32(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * The `site` word of a random counter: a hash of module path and role, never a running number, so that
 * replay, recomputation and a changed order of calls draw the same bits.
 */
export function siteId(path: string, role: string): number {
  return hash32(`${path}#${role}`);
}
