package engine_test

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"
)

// TestRootsWithoutASystem: where there are no certificates, as in the image of a
// bundle, HTTPS is verified against the roots that are compiled in. The roots are
// read once in a process, so its own process looks.
func TestRootsWithoutASystem(t *testing.T) {
	if os.Getenv("POLICY_ENGINE_TEST_ROOTS") != "" {
		pool, err := x509.SystemCertPool()
		if err != nil || pool.Equal(x509.NewCertPool()) {
			t.Errorf("no roots: %v", err)
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), self, "-test.run=^TestRootsWithoutASystem$")
	command.Env = append(os.Environ(), "POLICY_ENGINE_TEST_ROOTS=1", "SSL_CERT_FILE=/nowhere", "SSL_CERT_DIR=/nowhere")
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
