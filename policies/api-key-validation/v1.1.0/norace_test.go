//go:build !race

package apikeyvalidation_test

const raceEnabled = false
