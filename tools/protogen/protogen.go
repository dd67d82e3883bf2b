// Package protogen generates the Go code of the repository's .proto files.
//
// The compiler is bufbuild/protocompile, so that nothing has to be installed and the
// output does not depend on the machine. No part of the engine imports this package.
package protogen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/pluginpb"

	// What the .proto files of this repository import of other modules.
	_ "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// Compile reads every .proto file below root, with its comments. What they import is
// found below root or, for files of other modules, among the descriptors that are
// linked into the program: import the Go package for that.
func Compile(ctx context.Context, root string) (linker.Files, error) {
	var names []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".proto" {
			return err
		}
		name, err := filepath.Rel(root, path)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for .proto files: %w", err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no .proto file below %s", root)
	}
	linked := protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
		file, err := protoregistry.GlobalFiles.FindFileByPath(path)
		return protocompile.SearchResult{Desc: file}, err
	})
	compiler := protocompile.Compiler{
		Resolver:       protocompile.CompositeResolver{&protocompile.SourceResolver{ImportPaths: []string{root}}, linked},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("compiling .proto files: %w", err)
	}
	return files, nil
}

// Generate returns the Go files for compiled .proto files, by their paths relative to
// the root that those were compiled from. grpcPlugin is the command that writes the code
// for services: protoc-gen-go-grpc with any arguments.
func Generate(ctx context.Context, files linker.Files, grpcPlugin []string) (map[string][]byte, error) {
	raw, err := request(files)
	if err != nil {
		return nil, err
	}
	var req pluginpb.CodeGeneratorRequest
	// Options are kept as the bytes that they are, whichever of them this program knows.
	if err := (proto.UnmarshalOptions{Resolver: new(protoregistry.Types)}).Unmarshal(raw, &req); err != nil {
		return nil, err
	}
	plugin, err := protogen.Options{}.New(&req)
	if err != nil {
		return nil, err
	}
	plugin.SupportedFeatures = internal_gengo.SupportedFeatures
	services := false
	for _, file := range plugin.Files {
		if file.Generate {
			internal_gengo.GenerateFile(plugin, file)
			services = services || len(file.Services) > 0
		}
	}
	generated := map[string][]byte{}
	if err := collect(generated, plugin.Response()); err != nil {
		return nil, err
	}
	if services {
		response, err := run(ctx, grpcPlugin, raw)
		if err != nil {
			return nil, err
		}
		if err := collect(generated, response); err != nil {
			return nil, err
		}
	}
	return generated, nil
}

// request is what protoc would tell a plugin.
func request(files linker.Files) ([]byte, error) {
	req := &pluginpb.CodeGeneratorRequest{Parameter: proto.String("paths=source_relative")}
	seen := map[string]bool{}
	var add func(file protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		imports := file.Imports()
		for i := range imports.Len() {
			add(imports.Get(i).FileDescriptor)
		}
		req.ProtoFile = append(req.ProtoFile, protoutil.ProtoFromFileDescriptor(file))
	}
	for _, file := range files {
		req.FileToGenerate = append(req.FileToGenerate, file.Path())
		add(file)
	}
	slices.Sort(req.FileToGenerate)
	return proto.MarshalOptions{Deterministic: true}.Marshal(req)
}

// run runs a plugin as protoc does.
func run(ctx context.Context, plugin []string, request []byte) (*pluginpb.CodeGeneratorResponse, error) {
	if len(plugin) == 0 {
		return nil, errors.New("a .proto file has a service, and there is no plugin for it")
	}
	command := exec.CommandContext(ctx, plugin[0], plugin[1:]...)
	var stderr bytes.Buffer
	command.Stdin, command.Stderr = bytes.NewReader(request), &stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("running %s: %w: %s", strings.Join(plugin, " "), err, stderr.Bytes())
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return nil, fmt.Errorf("reading what %s wrote: %w", strings.Join(plugin, " "), err)
	}
	return &response, nil
}

func collect(into map[string][]byte, response *pluginpb.CodeGeneratorResponse) error {
	if response.Error != nil {
		return errors.New(response.GetError())
	}
	for _, file := range response.File {
		into[file.GetName()] = []byte(file.GetContent())
	}
	return nil
}
