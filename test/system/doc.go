// Package system runs whole scenarios on the built programs, each in both shapes: one
// process on embedded stores, and one process per service on the engines that
// SEGUE_TEST_ENGINES names, or without them on an event log and a bucket in the test. Its
// tests need the build tag system; `make test-system` builds and runs them.
package system
