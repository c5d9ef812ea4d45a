// The oracle answers what aws-iam-authenticator itself reads in the data of an aws-auth ConfigMap.
//
// It reads one JSON object a line on standard input, {"mapRoles": "...", "mapUsers": "...", "mapAccounts": "..."}
// (each key optional), and writes one JSON line for each: what the authenticator's own ParseMap returns for every
// data key alone, so that an error can be told apart by its key. A line {"manifest": "..."} is answered with the
// JSON documents that kubectl makes of a manifest file. A line with {"identity": "ARN", "mapRoles": "...", ...} is
// answered with what the authenticator's own mapper, which watches an API server played here, says of that identity.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/aws-iam-authenticator/pkg/arn"
	"sigs.k8s.io/aws-iam-authenticator/pkg/config"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper/configmap"
	"sigs.k8s.io/aws-iam-authenticator/pkg/token"
	"sigs.k8s.io/yaml"
)

type sso struct {
	PermissionSetName string `json:"permission_set_name"`
	AccountID         string `json:"account_id"`
	Partition         string `json:"partition"`
}

type entry struct {
	ARN      string   `json:"arn"`
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
	UserID   string   `json:"user_id"`
	SSO      *sso     `json:"sso"`
}

type answer struct {
	Entries []entry `json:"entries"`
	// Null when ParseMap returned no error.
	Error *string `json:"error"`
	// A reader that panics takes the whole authenticator down.
	Panicked bool `json:"panicked"`
	// For every ARN (or account id) that occurs: the indexes of the entries that may answer for it.
	Winners map[string][]int `json:"winners"`
}

func main() {
	logrus.SetOutput(io.Discard)
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			reply(line, out)
		}
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				log.Fatal(err)
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

func reply(line []byte, out *bufio.Writer) {
	data := map[string]string{}
	if err := json.Unmarshal(line, &data); err != nil {
		log.Fatalf("a line is not a JSON object of strings: %v", err)
	}
	answers := map[string]any{}
	if identity, asked := data["identity"]; asked {
		delete(data, "identity")
		answers["identity"] = identify(identity, data)
		data = nil
	}
	for key, text := range data {
		if key == "manifest" {
			answers[key] = documents(text)
		} else {
			answers[key] = read(key, text)
		}
	}
	encoded, err := json.Marshal(answers)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := out.Write(append(encoded, '\n')); err != nil {
		log.Fatal(err)
	}
}

func read(key, text string) (result answer) {
	result = answer{Entries: []entry{}, Winners: map[string][]int{}}
	defer func() {
		if problem := recover(); problem != nil {
			message := fmt.Sprint("panic: ", problem)
			result = answer{Entries: []entry{}, Error: &message, Panicked: true, Winners: map[string][]int{}}
		}
	}()
	users, roles, accounts, err := configmap.ParseMap(map[string]string{key: text})
	if err != nil {
		message := err.Error()
		result.Error = &message
	}
	for _, role := range roles {
		result.Entries = append(result.Entries, ofRole(role))
	}
	for _, user := range users {
		result.Entries = append(result.Entries, entry{user.UserARN, user.Username, listed(user.Groups), user.UserId, nil})
	}
	for _, account := range accounts {
		result.Entries = append(result.Entries, entry{ARN: account, Groups: []string{}})
	}
	winners(&result, users, roles, accounts)
	return result
}

func ofRole(role config.RoleMapping) entry {
	result := entry{role.RoleARN, role.Username, listed(role.Groups), role.UserId, nil}
	if role.SSO != nil {
		result.SSO = &sso{role.SSO.PermissionSetName, role.SSO.AccountID, role.SSO.Partition}
	}
	return result
}

func listed(groups []string) []string {
	if groups == nil {
		return []string{}
	}
	return groups
}

// winners does what the unexported MapStore.saveMap, RoleMapping, UserMapping and AWSAccount of
// pkg/mapper/configmap do: maps keyed by Key() in which the last one stays, then a search by Matches().
func winners(result *answer, users []config.UserMapping, roles []config.RoleMapping, accounts []string) {
	savedRoles, savedUsers, savedAccounts := map[string]int{}, map[string]int{}, map[string]int{}
	for i, role := range roles {
		savedRoles[role.Key()] = i
	}
	for i, user := range users {
		savedUsers[user.Key()] = i
	}
	for i, account := range accounts {
		savedAccounts[account] = i
	}
	for _, candidate := range result.Entries {
		subject := candidate.ARN
		if _, done := result.Winners[subject]; done || subject == "" && len(accounts) == 0 {
			continue
		}
		found := []int{}
		for i := range result.Entries {
			switch {
			case i < len(roles) && savedRoles[roles[i].Key()] == i && roles[i].Matches(subject),
				i < len(users) && savedUsers[users[i].Key()] == i && users[i].Matches(subject),
				i < len(accounts) && savedAccounts[accounts[i]] == i && accounts[i] == subject:
				found = append(found, i)
			}
		}
		result.Winners[subject] = found
	}
}

type manifest struct {
	Documents []json.RawMessage `json:"documents"`
	Error     *string           `json:"error"`
}

// documents splits a manifest as kubectl does and converts each part as kubectl does, up to the first error.
func documents(text string) manifest {
	result := manifest{Documents: []json.RawMessage{}}
	fail := func(message string) manifest {
		result.Error = &message
		return result
	}
	parts := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		part, err := parts.Read()
		if errors.Is(err, io.EOF) {
			return result
		}
		if err != nil {
			return fail(err.Error())
		}
		document, err := converted(part)
		if err != nil {
			return fail(err.Error())
		}
		result.Documents = append(result.Documents, document)
	}
}

func converted(part []byte) (document []byte, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("panic: %v", problem)
		}
	}()
	return yaml.YAMLToJSON(part)
}

type identityAnswer struct {
	// Null when the ARN can be somebody's who logs in.
	Error *string `json:"error"`
	// The ARN by which entries are found.
	Canonical string `json:"canonical"`
	// What Map returned in many tries, each once.
	Answers []mapped `json:"answers"`
	// Whether the account is let in.
	Account bool `json:"account"`
}

type mapped struct {
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
}

// tries is how often Map is asked: where chance decides between two, both show.
const tries = 64

func identify(identity string, data map[string]string) identityAnswer {
	result := identityAnswer{Answers: []mapped{}}
	_, canonical, err := arn.Canonicalize(identity)
	if err != nil {
		message := err.Error()
		result.Error = &message
		return result
	}
	result.Canonical = canonical
	mapper := loaded(data)
	seen := map[string]bool{}
	for range tries {
		found, err := mapper.Map(&token.Identity{CanonicalARN: canonical})
		if err != nil {
			break
		}
		answer := mapped{found.Username, listed(found.Groups)}
		if text := fmt.Sprintf("%q", answer); !seen[text] {
			seen[text] = true
			result.Answers = append(result.Answers, answer)
		}
	}
	result.Account = mapper.IsAccountAllowed(strings.Split(canonical, ":")[4])
	return result
}

// watched is the API server of the mapper: what is sent on it is a watch event for aws-auth.
var watched = make(chan []byte)

// received counts the events that the mapper has taken up, told by what it logs.
type received struct{ taken chan struct{} }

func (received) Levels() []logrus.Level { return logrus.AllLevels }

func (hook received) Fire(entry *logrus.Entry) error {
	if entry.Message == "Received aws-auth watch event" {
		hook.taken <- struct{}{}
	}
	return nil
}

var (
	starting sync.Once
	mapper   *configmap.ConfigMapMapper
	hook     = received{make(chan struct{}, 16)}
)

// loaded is the mapper after it has read data. It takes up one event after the other, so that when it begins with the
// second of two equal ones it has saved the first.
func loaded(data map[string]string) *configmap.ConfigMapMapper {
	starting.Do(start)
	event, err := json.Marshal(map[string]any{
		"type": "MODIFIED",
		"object": map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": "aws-auth", "namespace": "kube-system"},
			"data":     data,
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		watched <- event
	}
	for range 2 {
		<-hook.taken
	}
	return mapper
}

func start() {
	logrus.AddHook(hook)
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, request *http.Request) {
		out.Header().Set("Content-Type", "application/json")
		for {
			select {
			case event := <-watched:
				if _, err := out.Write(append(event, '\n')); err != nil {
					return
				}
				out.(http.Flusher).Flush()
			case <-request.Context().Done():
				return
			}
		}
	}))
	made, err := configmap.NewConfigMapMapper(config.Config{Master: server.URL})
	if err != nil {
		log.Fatal(err)
	}
	mapper = made
	if err := mapper.Start(make(chan struct{})); err != nil {
		log.Fatal(err)
	}
}
