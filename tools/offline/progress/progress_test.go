package progress_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"policyengine.dev/tools/offline/progress"
)

const (
	fetching = `{"id":{"progress":{}},"progress":{"stderr":"Analyzing: target //:demo\n    Fetching repository @@gazelle~~go_deps~com_github_google_cel_go; starting\n"}}`
	building = `{"id":{"progress":{}},"progress":{"stderr":"[12 / 388] GoStdlib\n[1,041 / 1,328] GoCompilePkg x.a; 2s\n"}}`
	compiled = `{"id":{"actionCompleted":{"primaryOutput":"x.a"}},"action":{"success":true,"type":"GoCompilePkg"}}`
	linked   = `{"id":{"actionCompleted":{"primaryOutput":"x"}},"action":{"success":true,"type":"GoLink"}}`
	library  = `{"id":{"targetConfigured":{"label":"//a"}},"configured":{"targetKind":"go_library rule"}}`
	test     = `{"id":{"targetConfigured":{"label":"//b"}},"configured":{"targetKind":"go_test rule","testSize":"MEDIUM"}}`
	tested   = `{"id":{"testSummary":{"label":"//b"}},"testSummary":{"overallStatus":"PASSED"}}`
)

func TestWords(t *testing.T) {
	tests := []struct {
		name, command string
		events        []string
		want          string
	}{
		{"at first nothing is known", "run", nil,
			"1m10s: reading what is to be built, and fetching what is missing: rules, Go modules, Envoy; left: all of the building, then the program starts"},
		{"what is fetched is named", "build", []string{fetching},
			"1m10s: reading what is to be built, and fetching what is missing: rules, Go modules, Envoy (now com_github_google_cel_go); left: all of the building"},
		{"steps are counted", "run", []string{fetching, compiled, compiled, linked, building},
			"1m10s: 2 Go packages compiled, 1 program linked; left: 287 of the 1328 steps that are known so far, then the program starts"},
		{"tests are counted", "test", []string{library, test, test, building, tested},
			"1m10s: 0 Go packages compiled, 0 programs linked; left: 287 of the 1328 steps that are known so far; 1 of 2 tests have run"},
		{"half a line changes nothing", "build", []string{building, building[:40]},
			"1m10s: 0 Go packages compiled, 0 programs linked; left: 287 of the 1328 steps that are known so far"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := progress.Progress{Command: tt.command}
			for _, e := range tt.events {
				p.Line([]byte(e))
			}
			if got := p.Words(70 * time.Second); got != tt.want {
				t.Errorf("Words = %q\nwant    %q", got, tt.want)
			}
		})
	}
}

// TestBuilding: while the program runs that was built, nothing is said.
func TestBuilding(t *testing.T) {
	var p progress.Progress
	p.Line([]byte(building))
	if !p.Building() {
		t.Error("the build is over before it is")
	}
	p.Line([]byte(`{"id":{"buildFinished":{}},"finished":{"exitCode":{"name":"SUCCESS"}}}`))
	if p.Building() {
		t.Error("the build is never over")
	}
}

func TestTail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events")
	tail := progress.Tail{Path: file}
	var got []string
	read := func() { tail.Read(func(line []byte) { got = append(got, string(line)) }) }
	read() // it is not there yet
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, piece := range []string{"one\ntw", "o\n", "", "three\n"} {
		if _, err := f.WriteString(piece); err != nil {
			t.Fatal(err)
		}
		read()
	}
	if want := []string{"one", "two", "three"}; !slices.Equal(got, want) {
		t.Errorf("lines = %q, want %q", got, want)
	}
}

func FuzzLine(f *testing.F) {
	for _, e := range []string{fetching, building, compiled, test, tested, "{", `{"progress":{"stderr":"[99999999999999999999 / 1]"}}`} {
		f.Add([]byte(e))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		p := progress.Progress{Command: "test"}
		p.Line(line)
		if p.Words(time.Second) == "" {
			t.Error("no words")
		}
	})
}
