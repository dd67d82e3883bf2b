package engine

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// fetcher is a policy that has to fetch something before it can decide.
type fetcher struct {
	url  string
	http *http.Client
}

func (*fetcher) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

func (f *fetcher) Start(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return err
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer is %d", resp.StatusCode)
	}
	return nil
}

// TestCheckStartsPolicies proves that a key set which cannot be fetched is found before
// an engine needs it, with the place of the policy.
func TestCheckStartsPolicies(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/keys" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	fetching := append(entries(), worker.Entry{
		Definition: `{"apiVersion":"policyengine/v1","name":"fetcher","version":"v1.0.0","description":"Fetches.","phases":["request_headers"],"parameters":{"type":"object"}}`,
		Factory: policy.Define(func(p struct {
			URL string `json:"url"`
		}, h policy.Host) (*fetcher, error) {
			return &fetcher{p.URL, h.HTTP}, nil
		}),
	})
	chains := func(paths ...string) string {
		all := "chains:\n- name: c\n  policies:\n"
		for i, p := range paths {
			all += fmt.Sprintf("  - {name: fetcher, id: f%d, version: v1, params: {url: %q}}\n", i, server.URL+p)
		}
		return all + "routes: [{name: r, chain: c}]\n"
	}
	for _, tt := range []struct {
		name   string
		chains string
		args   []string
		code   int
		want   []string
	}{
		{"it can be fetched", chains("/keys"), []string{"-check", "-start"}, exitOK, []string{"nothing wrong; every policy has started"}},
		{"without -start nobody looks", chains("/none"), []string{"-check"}, exitOK, []string{"nothing wrong"}},
		{"each that cannot be fetched", chains("/none", "/keys", "/neither"), []string{"-check", "-start"}, exitFailed,
			[]string{"chains.yaml:4:", "chains.yaml:6:", "fetcher@v1.0.0 cannot start: the answer is 404"}},
		{"what is wrong is told first", "chains: [{name: c, policies: [{name: gone, version: v1}]}]\nroutes: []\n", []string{"-check", "-start"}, exitFailed, []string{"gone"}},
		{"-start alone", chains("/keys"), []string{"-start"}, exitUsage, []string{"-start goes with -check"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if code := run(append(tt.args, "-config", files(t, "", tt.chains)), testManifest, fetching, nil, &out, &out); code != tt.code {
				t.Errorf("ended with %d, want %d", code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in: %s", want, out.String())
				}
			}
			if strings.Contains(out.String(), "chains.yaml:5:") || strings.Count(out.String(), "cannot start") > 2 {
				t.Errorf("too much is reported: %s", out.String())
			}
		})
	}
}
