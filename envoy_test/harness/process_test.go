package harness

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// parentVariable makes the test binary a parent that starts a child, says which, and
// waits to be killed.
const parentVariable = "HARNESS_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentVariable) != "" {
		p, err := startProcess("child", "/bin/sleep", "", []string{"600"}, nil)
		if err != nil {
			panic(err)
		}
		fmt.Println(p.cmd.Process.Pid)
		select {}
	}
	goleak.VerifyTestMain(m)
}

func alive(pid int) bool {
	// A zombie that nobody has waited for is dead too.
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return fields[0] != "Z" && fields[0] != "X"
}

func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
	}
}

func TestAChildDiesWithAParentThatIsKilled(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentVariable+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || !alive(pid) {
		t.Fatalf("no child: %v", err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	gone(t, pid)
}

func TestStopEndsAProcessThatDoesNotListenAndWhatItStarted(t *testing.T) {
	p, err := startProcess("stubborn", "/bin/sh", "", []string{"-c", "trap '' TERM; sleep 600 & echo $!; while :; do sleep 600; done"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var child int
	err = p.until(t.Context(), func() (err error) {
		child, err = strconv.Atoi(strings.TrimSpace(p.log.String()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p.stop(10 * time.Millisecond)
	gone(t, p.cmd.Process.Pid)
	gone(t, child)
}

func TestWaitingForReadinessIsBounded(t *testing.T) {
	never := func() error { return fmt.Errorf("not yet") }
	t.Run("by the context", func(t *testing.T) {
		p, err := startProcess("slow", "/bin/sh", "", []string{"-c", "echo I am slow; exec sleep 600"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.stop(time.Second)
		_ = p.until(t.Context(), func() error {
			if p.log.String() == "" {
				return fmt.Errorf("silent")
			}
			return nil
		})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err = p.until(ctx, never)
		if err == nil || !strings.Contains(err.Error(), "I am slow") || !strings.Contains(err.Error(), "not yet") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("by the end of the process", func(t *testing.T) {
		p, err := startProcess("broken", "/bin/sh", "", []string{"-c", "echo no configuration; exit 3"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.stop(time.Second)
		err = p.until(t.Context(), never)
		if err == nil || !strings.Contains(err.Error(), "no configuration") || !strings.Contains(err.Error(), "exit status 3") {
			t.Errorf("got %v", err)
		}
	})
}

func TestTailKeepsTheEnd(t *testing.T) {
	var log tail
	for i := range 200_000 {
		fmt.Fprintf(&log, "line %d\n", i)
	}
	got := log.String()
	if !strings.HasSuffix(got, "line 199999\n") || !strings.HasPrefix(got, "[...]") || len(got) > 2*keptLog+10 {
		t.Errorf("%d bytes, from %.20q", len(got), got)
	}
}

func TestStopSignalsAGroupOfItsOwn(t *testing.T) {
	p, err := startProcess("child", "/bin/sleep", "", []string{"600"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	group, err := syscall.Getpgid(p.cmd.Process.Pid)
	if err != nil || group != p.cmd.Process.Pid || group == syscall.Getpgrp() {
		t.Errorf("group %d, %v", group, err)
	}
	p.stop(10 * time.Second)
}
