//go:build !race

package coding_test

const raceEnabled = false
