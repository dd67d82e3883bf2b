package format

import (
	"regexp"
	"strconv"
	"time"
)

// The parts of RFC 3339, section 5.6.
var (
	fullDate = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	fullTime = regexp.MustCompile(`^([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))$`)
)

func validDate(s string) bool {
	if !fullDate.MatchString(s) {
		return false
	}
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

func validTime(s string) bool {
	m := fullTime.FindStringSubmatch(s)
	if m == nil {
		return false
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(m[i]) // two digits, or none
		return n
	}
	hour, minute, second, offset := number(1), number(2), number(3), number(5)*60+number(6)
	if hour > 23 || minute > 59 || second > 60 || number(5) > 23 || number(6) > 59 {
		return false
	}
	if second < 60 {
		return true
	}
	// A leap second ends a day of UTC.
	if m[4] == "+" {
		offset = -offset
	}
	const day = 24 * 60
	return (hour*60+minute+offset+day)%day == day-1
}

func validDateTime(s string) bool {
	const date = len(time.DateOnly)
	return len(s) > date && (s[date] == 'T' || s[date] == 't') && validDate(s[:date]) && validTime(s[date+1:])
}
