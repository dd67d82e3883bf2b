package main

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// TestRun proves that the command finds the image of a layout in the repository, and attaches files to it; and that it
// reports nothing as attached that was not.
func TestRun(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	defer server.Close()
	repository := strings.TrimPrefix(server.URL, "http://") + "/payments"
	image, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	written, err := layout.Write(filepath.Join(dir, "image"), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := written.AppendImage(image); err != nil {
		t.Fatal(err)
	}
	bill := filepath.Join(dir, "bill.cdx.json")
	if err := os.WriteFile(bill, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--image", filepath.Join(dir, "image"), "--repository", repository, "--document", "cyclonedx=" + bill}
	var out bytes.Buffer
	if err := run(t.Context(), args, &out); err == nil || !strings.Contains(err.Error(), "push the image first") || out.Len() > 0 {
		t.Errorf("without the image: %v, %s", err, out.Bytes())
	}
	tag, err := name.NewTag(repository + ":v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), args, &out); err != nil || !strings.HasPrefix(out.String(), repository+"@sha256:") || !strings.HasSuffix(out.String(), " bill.cdx.json\n") {
		t.Errorf("got %v, %s", err, out.Bytes())
	}
	for want, args := range map[string][]string{
		"is not cyclonedx=FILE":  {"--document", "x"},
		"no such file":           {"--document", "spdx=" + dir + "/none"},
		"is no flag":             {"x"},
		"reading the layout":     {"--image", dir + "/none"},
		"reading --repository: ": {"--image", filepath.Join(dir, "image"), "--repository", "A B"},
	} {
		if err := run(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %s", args, err, want)
		}
	}
}
