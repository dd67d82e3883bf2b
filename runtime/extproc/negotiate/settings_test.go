package negotiate_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"policyengine.dev/runtime/extproc/negotiate"
)

// TestStampComesBack proves that every setting survives the way through Envoy.
func TestStampComesBack(t *testing.T) {
	typ := reflect.TypeFor[negotiate.Settings]()
	for i := range typ.NumField() {
		t.Run(typ.Field(i).Name, func(t *testing.T) {
			var s negotiate.Settings
			if f := reflect.ValueOf(&s).Elem().Field(i); f.Kind() == reflect.Bool {
				f.SetBool(true)
			} else {
				f.SetInt(int64(1500 * time.Millisecond))
			}
			if strings.ContainsAny(s.Stamp(), "%\n") || s.Stamp() == (negotiate.Settings{}).Stamp() {
				t.Errorf("the stamp is %q", s.Stamp())
			}
			if got, err := negotiate.ParseStamp(s.Stamp()); err != nil || got != s {
				t.Errorf("%q parsed to %+v, %v", s.Stamp(), got, err)
			}
		})
	}
}

func TestRefusedStamps(t *testing.T) {
	for name, stamp := range map[string]string{
		"empty":                  "",
		"another version":        "v2 mode_override",
		"a word of tomorrow":     "v1 mode_override only_on_tuesdays",
		"a timeout of nothing":   "v1 timeout=0s",
		"a timeout without unit": "v1 timeout=200",
		"endless":                "v1" + strings.Repeat(" routing", 100),
	} {
		if got, err := negotiate.ParseStamp(stamp); err == nil || got != (negotiate.Settings{}) {
			t.Errorf("%s: %q parsed to %+v, %v", name, stamp, got, err)
		}
	}
}

func TestDefaultTimeout(t *testing.T) {
	var s negotiate.Settings
	if s.Timeout() != 200*time.Millisecond {
		t.Errorf("the default is %v", s.Timeout())
	}
}

func FuzzParseStamp(f *testing.F) {
	f.Add("v1 timeout=1s mode_override routing")
	f.Fuzz(func(t *testing.T, stamp string) {
		s, err := negotiate.ParseStamp(stamp)
		if err != nil {
			return
		}
		if again, err := negotiate.ParseStamp(s.Stamp()); err != nil || again != s {
			t.Errorf("%q gave %+v, and that %+v, %v", stamp, s, again, err)
		}
	})
}
