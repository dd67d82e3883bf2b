package message_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/tools/envoy"
	"policyengine.dev/tools/pectl/envoyconfig/envoyyaml"
	"policyengine.dev/tools/pectl/envoyconfig/message"
)

// TestSpellings proves that of every way to write a value the pinned Envoy and this
// package make the same: what it takes is read as what it tells in its dump, and what
// it refuses is reported.
func TestSpellings(t *testing.T) {
	binary := envoy.Binary(t)
	for _, json := range []bool{false, true} {
		var taken []spelling
		for _, s := range spellings {
			if s.json != json {
				continue
			}
			if problems := read(t, bootstrap([]spelling{s}, json), json).problems; len(problems) > 0 {
				t.Run("refused: "+s.String(), func(t *testing.T) {
					if out, err := validate(t, binary, bootstrap([]spelling{s}, json), json); err == nil {
						t.Errorf("Envoy takes it; here it is %q", problems[0].Text)
					} else if bytes.Contains(out, []byte("yaml-cpp")) {
						t.Logf("not even YAML: %s", out)
					}
				})
				continue
			}
			taken = append(taken, s)
		}
		t.Run(fmt.Sprint("taken, JSON ", json), func(t *testing.T) { compare(t, binary, taken, json) })
	}
}

// compare compares what is read with what Envoy makes of it.
func compare(t *testing.T, binary string, taken []spelling, asJSON bool) {
	text := bootstrap(taken, asJSON)
	if out, err := validate(t, binary, text, asJSON); err != nil {
		for _, s := range taken {
			if out, err := validate(t, binary, bootstrap([]spelling{s}, asJSON), asJSON); err != nil {
				t.Errorf("%s: Envoy does not take it: %.1000s", s, out)
			}
		}
		t.Fatalf("Envoy does not take it all: %.1000s", out)
	}
	want := dump(t, binary, text, asJSON).GetStaticResources().GetListeners()
	got := read(t, text, asJSON).packed(t).GetStaticResources().GetListeners()
	if len(want) != len(taken) || len(got) != len(taken) {
		t.Fatalf("Envoy has %d listeners, and %d were read of %d", len(want), len(got), len(taken))
	}
	for i, s := range taken {
		if diff := cmp.Diff(want[i], got[i], protocmp.Transform()); diff != "" {
			t.Errorf("%s: Envoy reads it otherwise (-Envoy +here):\n%s", s, diff)
		}
	}
}

type reading struct {
	node     *message.Node
	problems []message.Problem
}

func read(t *testing.T, text string, json bool) reading {
	t.Helper()
	documents, err := envoyyaml.NewReader(envoyyaml.Limits{Bytes: 1 << 20, Depth: 100, Nodes: 1 << 20}).File(name(json), []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	n, problems := message.Decode(documents[0], "envoy.config.bootstrap.v3.Bootstrap")
	return reading{n, problems}
}

// packed is the message with its extensions packed into it.
func (r reading) packed(t *testing.T) *bootstrapv3.Bootstrap {
	t.Helper()
	if err := message.Pack(r.node); err != nil {
		t.Fatal(err)
	}
	return message.As[*bootstrapv3.Bootstrap](r.node)
}

func name(json bool) string {
	if json {
		return "envoy.json"
	}
	return "envoy.yaml"
}

func validate(t *testing.T, binary, text string, json bool) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), name(json))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(ctx, binary, "--mode", "validate", "--log-level", "error", "--config-path", file).CombinedOutput()
}

// dump is the bootstrap configuration as a running Envoy tells it.
func dump(t *testing.T, binary, text string, asJSON bool) *bootstrapv3.Bootstrap {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	admin := "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n"
	if asJSON {
		admin = `{"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}, `
		text = text[1:]
	}
	e, err := harness.StartEnvoy(ctx, harness.EnvoyOptions{
		Path: binary, Config: []byte(admin + text), Dir: t.TempDir(), LogLevel: "error", JSON: asJSON,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	page, err := e.Admin(ctx, "/config_dump")
	if err != nil {
		t.Fatal(err)
	}
	var configs struct {
		Configs []struct {
			Type      string          `json:"@type"`
			Bootstrap json.RawMessage `json:"bootstrap"`
		} `json:"configs"`
	}
	if err := json.Unmarshal(page, &configs); err != nil {
		t.Fatal(err)
	}
	var b bootstrapv3.Bootstrap
	for _, c := range configs.Configs {
		if c.Type == "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump" {
			if err := protojson.Unmarshal(c.Bootstrap, &b); err != nil {
				t.Fatal(err)
			}
			return &b
		}
	}
	t.Fatalf("no bootstrap configuration in %.500s", page)
	return nil
}
