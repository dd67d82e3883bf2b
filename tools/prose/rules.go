package prose

// Rules are the wordings that this repository avoids. A new rule needs few false
// positives: docs/decisions/prose-check.md says how they were chosen.
var Rules = []Rule{
	{Name: "archaic", Pattern: `lest|there(?:of|in|to|by)|where(?:of|in|to|by|upon)|here(?:of|in|by)|hence|likewise|heed(?:s|ed|ing)?|albeit|anew|naught|aught`, Instead: "a word of today: so that ... not, so, again, follow, respect"},
	{Name: "in-place-of", Pattern: `in (?:the )?place of`, Instead: "instead of"},
	{Name: "besides", Pattern: `besides`, Instead: "in addition to; also"},
	{Name: "own-behind", Pattern: `(?:a|an|the|no|each|one|and) [\w-]+ of (?:its|their) own`, Instead: "its own ..., as in: its own goroutine"},
	{Name: "is-no", Pattern: `(?:is|are|was|were|be) no (?:flag|file|number|name|error|policy|route|chain|label|token|header|address|directory|version|problem|duration|secret|reply|failure|reason|command|URL|path|match|regular|valid|integer|part|rule|key|message|method|body|phase|list|mapping|string|struct|object|option|field|value|whole|certificate|test)\w*`, Except: `there|it`, Instead: "is not a ..."},
	{Name: "however-the", Pattern: `however (?:the|it|they|many|much|long|large|often|deep|small)`, Instead: "even if ..., regardless of ..."},
	{Name: "all-the-same", Pattern: `all the same`, Instead: "even so, nevertheless, still"},
	{Name: "as-ever", Pattern: `as ever|for ever|ever so`, Instead: "as before, as usual, forever"},
	{Name: "about-n", Pattern: `some (?:\d+|ten|twenty|thirty|fifty|hundred)`, Instead: "about"},
	{Name: "own-account", Pattern: `(?:on|for) (?:its|their)(?: own)? account|at part`, Instead: "name what is done, and by what"},
	{Name: "put-up-with", Pattern: `puts? up with|makes? do with|does without|do without`, Instead: "accepts, uses only, needs no ..."},
	{Name: "wants-to-know", Pattern: `(?:engine|Envoy|filter|proxy|runtime|worker|kernel|chain|route|code|program|test|build|command) (?:wants|believes|forgets|thinks|remembers|hopes|minds|likes|fears)`, Instead: "say what it does: requires, assumes, drops, keeps"},
	{Name: "is-told", Pattern: `(?:is|are|was|were|be|being) told`, Instead: "name who sends what: Envoy sends ..., the log has ..."},
	{Name: "not-looked-at", Pattern: `(?:is|are|was|were|be|being) looked at`, Instead: "is checked, is read"},
	{Name: "inverted", Pattern: `not until|no sooner|only then does|of which one is|neither does|nor is it|nor are they|so is it`, Instead: "subject, verb, object"},
	{Name: "has-come", Pattern: `(?:has|have) come(?: back)?`, Instead: "has arrived, has returned"},
}
