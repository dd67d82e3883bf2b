package engine_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"policyengine.dev/runtime/config"
)

func TestFirstConfigurationHasToBeGood(t *testing.T) {
	for name, content := range map[string]string{
		"not decodable": "chains: 7\n",
		"not valid":     chains("{vallue: hola}"),
		"body limit":    strings.Replace(chains("{}"), "- name: c\n", "- name: c\n  bodyLimit: 2GiB\n", 1),
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, content, nil)
			if err := r.ended(); err == nil || !strings.Contains(err.Error(), "chains.yaml:") {
				t.Errorf("Run ended with %v", err)
			}
		})
	}
}

// TestWaitsForAValidStart proves that an engine which is told to stays up without a
// valid configuration, says so wherever it is asked, lets nothing pass, and serves as
// soon as there is one.
func TestWaitsForAValidStart(t *testing.T) {
	for name, content := range map[string]string{
		"not decodable": "chains: 7\n",
		"not valid":     chains("{vallue: hola}"),
		"not there":     "",
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, content, func(c *config.Engine) {
				c.OnInvalidStart = config.WaitOnInvalidStart
				if content == "" {
					os.Remove(c.Chains)
				}
			})
			until(t, "the refusal is told", func() bool {
				status, body := r.page("/readyz")
				return status == 503 && strings.HasPrefix(body, "no valid configuration yet; what there is was refused:\n") && strings.Contains(body, "chains.yaml")
			})
			var dump struct {
				Ready    bool
				Config   any
				Rejected struct{ Problems []any }
			}
			_, page := r.page("/config_dump")
			if err := json.Unmarshal([]byte(page), &dump); err != nil || dump.Ready || dump.Config != nil || len(dump.Rejected.Problems) == 0 {
				t.Errorf("the dump is %s, %v", page, err)
			}
			if _, page := r.page("/metrics"); !strings.Contains(page, "policy_engine_config_stale 1\n") || !strings.Contains(page, "policy_engine_config_rejections_total 1\n") {
				t.Error("the metrics do not tell of the refusal")
			}
			conn := r.dial(nil)
			if s := health(t, conn); s != healthpb.HealthCheckResponse_NOT_SERVING {
				t.Errorf("health is %s", s)
			}
			reply, err := ask(t, conn)
			if im := reply.GetImmediateResponse(); err != nil || im.GetStatus().GetCode() != 503 || im.GetDetails() != "policy_engine.NOT_READY" {
				t.Errorf("the reply is %v, %v", reply, err)
			}
			r.write(chains("{value: hello}"))
			r.waitReady()
			if reply, err := ask(t, conn); err != nil || greeting(reply) != "hello" {
				t.Errorf("the reply is %v, %v", reply, err)
			}
			if s := health(t, conn); s != healthpb.HealthCheckResponse_SERVING {
				t.Errorf("health is %s", s)
			}
			if status, body := r.page("/readyz"); status != 200 || !strings.HasPrefix(body, "ready\nbody memory: 0 of ") {
				t.Errorf("/readyz: %d %s", status, body)
			}
		})
	}
}

// TestEndsWhileItWaits proves that an engine that was never ready ends like any other.
func TestEndsWhileItWaits(t *testing.T) {
	r := start(t, "chains: 7\n", func(c *config.Engine) { c.OnInvalidStart = config.WaitOnInvalidStart })
	until(t, "the engine to answer", func() bool { status, _ := r.page("/readyz"); return status == 503 })
	r.stop()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}
