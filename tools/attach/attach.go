// Package attach pushes documents about an image to the image's repository, as OCI 1.1 referrers of the image's digest.
package attach

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Document is pushed as an artifact with one layer.
type Document struct {
	// Name is for people: the layer's title.
	Name string
	// Type is the artifact's type and the layer's media type.
	Type    string
	Content []byte
}

// Types of the documents of a bundle.
const (
	CycloneDX = "application/vnd.cyclonedx+json"
	SPDX      = "application/spdx+json"
	InToto    = "application/vnd.in-toto+json"
)

// Attach pushes the documents in their order, each as a referrer of the image subject in its repository. The image has to be
// there already. Where the registry lacks the referrers API, the documents are listed under the tag that OCI 1.1 names for
// that (sha256-HEX). Pushing the same document again changes nothing, so that repeating a call completes one that failed.
//
// It returns the digests of those that were pushed, also with an error. The error says which document could not be pushed,
// and which were not tried.
func Attach(ctx context.Context, subject name.Digest, documents []Document, options ...remote.Option) ([]v1.Hash, error) {
	options = append([]remote.Option{remote.WithContext(ctx)}, options...)
	image, err := remote.Head(subject, options...)
	if err != nil {
		return nil, fmt.Errorf("looking for %s; push the image first, nothing was attached: %w", subject, err)
	}
	var pushed []v1.Hash
	for i, d := range documents {
		digest, err := push(subject.Context(), *image, d, options)
		if err != nil {
			var rest []string
			for _, d := range documents[i+1:] {
				rest = append(rest, d.Name)
			}
			return pushed, fmt.Errorf("attaching %s to %s, %d of %d documents were attached, not tried: %q; attach again to complete: %w",
				d.Name, subject, i, len(documents), rest, err)
		}
		pushed = append(pushed, digest)
	}
	return pushed, nil
}

func push(to name.Repository, subject v1.Descriptor, d Document, options []remote.Option) (v1.Hash, error) {
	artifact, err := artifact(subject, d)
	if err != nil {
		return v1.Hash{}, err
	}
	digest, err := artifact.Digest()
	if err != nil {
		return v1.Hash{}, err
	}
	return digest, remote.Write(to.Digest(digest.String()), artifact, options...)
}

func artifact(subject v1.Descriptor, d Document) (v1.Image, error) {
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.MediaType(d.Type))
	image, err := mutate.Append(base, mutate.Addendum{
		Layer:       static.NewLayer(d.Content, types.MediaType(d.Type)),
		Annotations: map[string]string{"org.opencontainers.image.title": d.Name},
	})
	if err != nil {
		return nil, err
	}
	about, ok := mutate.Subject(image, v1.Descriptor{MediaType: subject.MediaType, Size: subject.Size, Digest: subject.Digest}).(v1.Image)
	if !ok {
		return nil, errors.New("naming the subject gave no image")
	}
	return about, nil
}
