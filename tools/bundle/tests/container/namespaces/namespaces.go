// Package namespaces tells whether this machine lets this user make a container.
package namespaces

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// childVariable tells the process that Probe starts where to mount.
const childVariable = "POLICY_ENGINE_PROBE_NAMESPACES"

// Probe makes the namespaces of a container and mounts its /proc at dir, in a
// process of its own. A user who is not root gets a user namespace as well. The
// error says what the machine refuses, and what allows it. The program has to call
// Child first thing.
func Probe(dir string) error {
	command := exec.Command("/proc/self/exe")
	command.Env = append(os.Environ(), childVariable+"="+dir)
	attributes := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS}
	remedy := "run the test as root outside of containers, or in a privileged one"
	if os.Geteuid() != 0 {
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
		remedy = "allow user namespaces (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, user.max_user_namespaces), or run the test as root"
	}
	command.SysProcAttr = attributes
	var said bytes.Buffer
	command.Stderr = &said
	if err := command.Run(); err != nil {
		return fmt.Errorf("this machine does not let user %d make a container: %w %s; %s", os.Geteuid(), err, bytes.TrimSpace(said.Bytes()), remedy)
	}
	return nil
}

// Child does the work of the process that Probe starts, and ends it. In any other
// process it does nothing.
func Child() {
	dir := os.Getenv(childVariable)
	if dir == "" {
		return
	}
	err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	if err == nil {
		err = syscall.Mount("proc", dir, "proc", 0, "")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mounting /proc:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
