// Package embedding turns what was measured of a track into a vector, so that tracks that
// sound alike lie near each other, and finds the nearest. It needs no trained weights: each
// place is a measurement in units of its spread over music (Logan and Salomon, "A music
// similarity function based on signal analysis", 2001, and Pampalk, "Computational models of
// music similarity", 2006, for which measurements tell).
package embedding
