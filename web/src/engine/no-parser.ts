// Stands in for the package "codec-parser": see the alias in vite.config.ts.
export default class NoParser {}
export const totalSamples = Symbol("totalSamples");
export const data = Symbol("data");
export const codecFrames = Symbol("codecFrames");
export const header = Symbol("header");
export const vorbisComments = Symbol("vorbisComments");
export const vorbisSetup = Symbol("vorbisSetup");
export const isLastPage = Symbol("isLastPage");
