package attach_test

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"policyengine.dev/tools/attach"
	debianregistry "policyengine.dev/tools/debian/registry"
)

var documents = []attach.Document{
	{Name: "payments_sbom.cdx.json", Type: attach.CycloneDX, Content: []byte("1")},
	{Name: "payments_sbom.spdx.json", Type: attach.SPDX, Content: []byte("2")},
	{Name: "payments_provenance.json", Type: attach.InToto, Content: []byte("3")},
}

// serve returns a repository in a registry that handler makes of go-containerregistry's.
func serve(t *testing.T, referrers bool, wrap func(http.Handler) http.Handler) name.Repository {
	t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(referrers))
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	repository, err := name.NewRepository(strings.TrimPrefix(server.URL, "http://") + "/some/payments")
	if err != nil {
		t.Fatal(err)
	}
	return repository
}

// pushImage pushes an image and returns its digest.
func pushImage(t *testing.T, to name.Repository) name.Digest {
	t.Helper()
	image, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(to.Tag("v1"), image); err != nil {
		t.Fatal(err)
	}
	return to.Digest(digest.String())
}

// attached returns the contents of the referrers of an image, by their types.
func attached(t *testing.T, subject name.Digest) map[string]string {
	t.Helper()
	index, err := remote.Referrers(subject)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, m := range manifest.Manifests {
		image, err := remote.Image(subject.Context().Digest(m.Digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		layers, err := image.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("%d layers, %v", len(layers), err)
		}
		reader, err := layers[0].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		var content bytes.Buffer
		if _, err := content.ReadFrom(reader); err != nil {
			t.Fatal(err)
		}
		if _, twice := found[m.ArtifactType]; twice {
			t.Errorf("%s is attached twice", m.ArtifactType)
		}
		found[m.ArtifactType] = content.String()
	}
	return found
}

var all = map[string]string{attach.CycloneDX: "1", attach.SPDX: "2", attach.InToto: "3"}

func debianRepository(t *testing.T) name.Repository {
	t.Helper()
	repository, err := name.NewRepository(debianregistry.Start(t) + "/some/payments")
	if err != nil {
		t.Fatal(err)
	}
	return repository
}

// TestAttach proves that documents can be read back as referrers of the image, with the referrers API and without it, and
// that attaching them again changes nothing.
func TestAttach(t *testing.T) {
	for name, repository := range map[string]func(*testing.T) name.Repository{
		"with the referrers API":   func(t *testing.T) name.Repository { return serve(t, true, nil) },
		"by the tag scheme":        func(t *testing.T) name.Repository { return serve(t, false, nil) },
		"Debian's docker-registry": debianRepository,
	} {
		t.Run(name, func(t *testing.T) {
			subject := pushImage(t, repository(t))
			var before []v1.Hash
			for range 2 {
				pushed, err := attach.Attach(t.Context(), subject, documents)
				if err != nil {
					t.Fatal(err)
				}
				if before != nil && !cmp.Equal(before, pushed) {
					t.Errorf("pushed %v, and %v before", pushed, before)
				}
				before = pushed
				if diff := cmp.Diff(all, attached(t, subject)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestPartialFailure proves that an error in the middle says what was pushed and what was not, and that a repeated call
// completes it.
func TestPartialFailure(t *testing.T) {
	var broken atomic.Bool
	var manifests atomic.Int32
	repository := serve(t, true, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken.Load() && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") && manifests.Add(1) > 1 {
				http.Error(w, "the disk is full", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	subject := pushImage(t, repository)
	broken.Store(true)
	pushed, err := attach.Attach(t.Context(), subject, documents)
	want := `attaching payments_sbom.spdx.json to ` + subject.String() + `, 1 of 3 documents were attached, not tried: ["payments_provenance.json"]; attach again to complete`
	if err == nil || !strings.Contains(err.Error(), want) || len(pushed) != 1 {
		t.Errorf("pushed %v, error %v, want %s", pushed, err, want)
	}
	if diff := cmp.Diff(map[string]string{attach.CycloneDX: "1"}, attached(t, subject)); diff != "" {
		t.Error(diff)
	}
	broken.Store(false)
	if _, err := attach.Attach(t.Context(), subject, documents); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, attached(t, subject)); diff != "" {
		t.Error(diff)
	}
}

// TestNoImage proves that nothing is attached to an image that is not in the registry.
func TestNoImage(t *testing.T) {
	repository := serve(t, true, nil)
	pushed, err := attach.Attach(t.Context(), repository.Digest("sha256:"+strings.Repeat("ab", 32)), documents)
	if err == nil || !strings.Contains(err.Error(), "push the image first, nothing was attached") || pushed != nil {
		t.Errorf("pushed %v, error %v", pushed, err)
	}
}
