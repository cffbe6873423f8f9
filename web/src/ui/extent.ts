// How many rows a list that comes in pages makes room for. A server that spans machines counts
// a large catalogue no further than it must: there may be more than the total says.
export function extent(loaded: number, total: number, done: boolean, page: number): number {
  if (done) return loaded;
  return loaded < total ? total : loaded + page;
}
