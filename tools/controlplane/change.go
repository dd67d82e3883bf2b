package controlplane

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/config/schema"
	"policyengine.dev/sdk/strictyaml"
)

// changedFile is the file, in a cluster's directory, of what was put over HTTP.
const changedFile = "put.yaml"

// maxBody bounds a resource that is put, in bytes.
const maxBody = 1 << 20

// Put puts a chain or a route (what is "chains" or "routes"), written as a file has it, in
// place of the one of its name, or adds it. match is the version of the cluster that the
// caller has seen. It returns the new version. A resource that another file has is changed
// there.
func (p *Plane) Put(ctx context.Context, cluster, what, name, match string, body []byte) (version string, err error) {
	p.changing.Lock()
	defer p.changing.Unlock()
	dir, err := p.directory(cluster)
	if err != nil {
		return "", err
	}
	now := p.contents.get(cluster)
	if now == nil || now.version != match {
		return "", fmt.Errorf("%w: the version is not %.200q any more; read it again", ErrConflict, match)
	}
	files, err := yamlFiles(dir)
	if err != nil {
		return "", err
	}
	texts, all := map[string]string{}, &configv1.Configuration{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		var c configv1.Configuration
		root, err := strictyaml.ParseWithin(config.FileLimits, filepath.Base(file), b)
		if err == nil {
			err = schema.Decode(root, &c)
		}
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if filepath.Base(file) == changedFile {
			all = &c
			continue
		}
		texts[filepath.Base(file)] = string(b)
		if has(&c, what, name) {
			return "", fmt.Errorf("%w: %s has this resource; change it there", ErrConflict, filepath.Base(file))
		}
	}
	root, err := strictyaml.ParseWithin(config.FileLimits, "body", body)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := merge(all, what, name, root); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	texts[changedFile] = string(schema.Encode(all)) + "\n" // JSON is YAML
	if err := p.replace(ctx, cluster, dir, texts); err != nil {
		return "", err
	}
	return p.contents.get(cluster).version, nil
}

func has(c *configv1.Configuration, what, name string) bool {
	for _, one := range c.Chains {
		if what == "chains" && one.Name == name {
			return true
		}
	}
	for _, one := range c.Routes {
		if what == "routes" && one.Name == name {
			return true
		}
	}
	return false
}

// merge puts a resource into a configuration.
func merge(all *configv1.Configuration, what, name string, root strictyaml.Node) error {
	if what == "chains" {
		m := &configv1.Chain{}
		if err := decode(root, m, &m.Name, name); err != nil {
			return err
		}
		for i, one := range all.Chains {
			if one.Name == name {
				all.Chains[i] = m
				return nil
			}
		}
		all.Chains = append(all.Chains, m)
		return nil
	}
	m := &configv1.Route{}
	if err := decode(root, m, &m.Name, name); err != nil {
		return err
	}
	for i, one := range all.Routes {
		if one.Name == name {
			all.Routes[i] = m
			return nil
		}
	}
	all.Routes = append(all.Routes, m)
	return nil
}

func decode(root strictyaml.Node, m proto.Message, own *string, name string) error {
	if err := schema.Decode(root, m); err != nil {
		return err
	}
	if *own != name {
		return root.At("name").Problem("not the name in the URL", "write the same name twice")
	}
	return nil
}

// change serves PUT /clusters/{cluster}/{chains|routes}/{name} and POST
// /clusters/{cluster}/rollback/{version}. The cluster "-" is that of engines without one.
func (p *Plane) change(w http.ResponseWriter, r *http.Request) {
	if !p.allowed(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "give the control plane's token as Authorization: Bearer TOKEN", http.StatusUnauthorized)
		return
	}
	cluster, what, name := r.PathValue("cluster"), r.PathValue("what"), r.PathValue("name")
	if cluster == "-" {
		cluster = ""
	}
	var version string
	var err error
	switch {
	case r.Method == http.MethodPost && what == "rollback":
		version, err = name, p.Rollback(r.Context(), cluster, name)
	case r.Method == http.MethodPut && (what == "chains" || what == "routes"):
		match := strings.Trim(r.Header.Get("If-Match"), `"`)
		if match == "" {
			http.Error(w, `give the version that you have seen, as If-Match: "VERSION"`, http.StatusPreconditionRequired)
			return
		}
		var body []byte
		if body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
			http.Error(w, fmt.Sprintf("a body of at most %d bytes is taken", maxBody), http.StatusRequestEntityTooLarge)
			return
		}
		version, err = p.Put(r.Context(), cluster, what, name, match, body)
	default:
		http.NotFound(w, r)
		return
	}
	result := "done"
	if err != nil {
		result = err.Error()
	}
	p.options.Logger.Info("audit", slog.String("peer", r.RemoteAddr), slog.String("method", r.Method), slog.String("cluster", cluster),
		slog.String("what", what), slog.String("name", name), slog.String("version", version), slog.String("result", result))
	switch {
	case err == nil:
		w.Header().Set("ETag", `"`+version+`"`)
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, ErrUnknown):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, ErrConflict):
		http.Error(w, err.Error(), http.StatusPreconditionFailed)
	case errors.Is(err, ErrInvalid):
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	default:
		http.Error(w, "the change could not be made; the control plane's log says why", http.StatusInternalServerError)
	}
}

// allowed compares the bearer's token in constant time.
func (p *Plane) allowed(r *http.Request) bool {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	own, given := sha256.Sum256([]byte(p.options.Token)), sha256.Sum256([]byte(token))
	return bearer && p.options.Token != "" && subtle.ConstantTimeCompare(own[:], given[:]) == 1
}
