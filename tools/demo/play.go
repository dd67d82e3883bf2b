package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"policyengine.dev/envoy_test/harness"
)

// repeats is how many times each row's request is sent; the table shows the median.
const repeats = 9

// patience limits one request, and the wait for its entry in Envoy's access log.
const patience = 30 * time.Second

// result is the outcome of a row.
type result struct {
	row     row
	status  int
	decided string
	// added is how much longer the request took than one that Envoy passes
	// without calling the engine.
	added    time.Duration
	problems []string
}

func (r *result) problem(format string, args ...any) {
	if p := fmt.Sprintf(format, args...); !slices.Contains(r.problems, p) {
		r.problems = append(r.problems, p)
	}
}

// player sends the rows' requests, one after the other.
type player struct {
	stack  *harness.Stack
	client http.Client
	logged int
}

func play(ctx context.Context, stack *harness.Stack, s *scene) ([]result, error) {
	rows, err := s.rows()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	p := &player{stack: stack, client: http.Client{Transport: transport, Timeout: patience}}
	baseline, err := p.row(ctx, row{method: "GET", path: "/" + baselineRoute, status: 200, decided: passed, saw: map[string]string{}})
	if err != nil {
		return nil, err
	}
	var results []result
	for _, r := range rows {
		if r.killed {
			stack.Engine.Kill()
		}
		result, err := p.row(ctx, r)
		if err != nil {
			return nil, err
		}
		result.added = max(0, result.added-baseline.added)
		results = append(results, result)
		if r.killed {
			restart, cancel := context.WithTimeout(ctx, startTimeout)
			err := stack.Engine.Start(restart, s.chains)
			cancel()
			if err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// row sends a row's request several times. The first is not timed.
func (p *player) row(ctx context.Context, r row) (result, error) {
	res := result{row: r}
	var times []time.Duration
	for range r.before {
		if _, err := p.send(ctx, &result{row: r}); err != nil {
			return res, fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
	}
	for i := range repeats + 1 {
		took, err := p.send(ctx, &res)
		if err != nil {
			return res, fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
		if i > 0 {
			times = append(times, took)
		}
	}
	slices.Sort(times)
	res.added = times[len(times)/2]
	return res, nil
}

// send sends the request once, compares the outcome with the expected one, and
// returns how long Envoy took, without the time of the upstream.
func (p *player) send(ctx context.Context, res *result) (time.Duration, error) {
	p.stack.Upstream.Forget()
	request, err := http.NewRequestWithContext(ctx, res.row.method, "http://"+p.stack.Address()+res.row.path, strings.NewReader(res.row.body))
	if err != nil {
		return 0, err
	}
	if res.row.body != "" {
		request.Header.Set("content-type", "application/json")
	}
	for name, value := range res.row.headers {
		request.Header.Set(name, value)
	}
	if res.row.header != "" {
		request.Header.Set(res.row.header, res.row.value)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		return 0, err
	}
	res.client(response, body)
	res.upstream(p.stack.Upstream.Received())
	entry, err := p.entry(ctx)
	if err != nil {
		return 0, err
	}
	res.decided = entry.Details
	if !strings.HasPrefix(entry.Details, res.row.decided) || res.row.decided != noEngine && entry.Details != res.row.decided {
		res.problem("Envoy's response code details are %s, want %s", entry.Details, res.row.decided)
	}
	return entry.Total - entry.UpstreamTime, nil
}

// entry waits for the next entry of Envoy's access log.
func (p *player) entry(ctx context.Context) (harness.AccessLogEntry, error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		log, err := p.stack.Envoy.AccessLog()
		if err != nil {
			return harness.AccessLogEntry{}, err
		}
		if len(log) > p.logged {
			p.logged++
			return log[p.logged-1], nil
		}
	}
	return harness.AccessLogEntry{}, errors.New("Envoy has not logged the request")
}

func (res *result) client(response *http.Response, body []byte) {
	res.status = response.StatusCode
	if res.status != res.row.status {
		res.problem("the status is %d, want %d", res.status, res.row.status)
	}
	for name, want := range res.row.got {
		if got := response.Header.Get(name); got != want {
			res.problem("the client got %s: %q, want %q", name, got, want)
		}
	}
	if !strings.Contains(string(body), res.row.contains) {
		res.problem("the body does not contain %q", res.row.contains)
	}
	if secret := res.row.secret(); secret != "" && strings.Contains(string(body)+fmt.Sprint(response.Header), secret) {
		res.problem("the response contains the client's credential")
	}
}

func (res *result) upstream(received []harness.Received) {
	if (len(received) > 0) != (res.row.saw != nil) {
		res.problem("the upstream was reached: %t, want %t", len(received) > 0, res.row.saw != nil)
		return
	}
	for _, r := range received {
		for name, want := range res.row.saw {
			if got := r.Header.Get(name); got != want {
				res.problem("the upstream saw %s: %q, want %q", name, got, want)
			}
		}
	}
}
