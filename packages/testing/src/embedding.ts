/**
 * Rows of a table by id.
 * @param table - `[vocab, dim]`
 * @param ids - `[tokens]`, each in [0, vocab)
 * @returns `[tokens, dim]`
 * @throws RangeError for an id outside the table
 */
export function embedding(table: ArrayLike<number>, ids: ArrayLike<number>, dim: number): Float64Array {
  const out = new Float64Array(ids.length * dim);
  for (let token = 0; token < ids.length; token++) {
    const id = ids[token]!;
    if (!(id >= 0 && (id + 1) * dim <= table.length)) throw new RangeError(`embedding: no row ${id}`);
    for (let i = 0; i < dim; i++) out[token * dim + i] = table[id * dim + i]!;
  }
  return out;
}
