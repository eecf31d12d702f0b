package keyring

// Roles are named sets of scopes, as one configuration defines them. A role
// that a key holds and the configuration does not define grants nothing.
type Roles map[string]*Grants

// NewRoles checks and compiles role definitions.
func NewRoles(definitions map[string][]string) (Roles, error) {
	roles := make(Roles, len(definitions))
	for name, scopes := range definitions {
		if err := checkLabel("role", name, false); err != nil {
			return nil, err
		}
		if len(scopes) == 0 {
			return nil, invalid("role", "%s has no scopes; write at least one, or remove the role", name)
		}
		grants, err := NewGrants(scopes)
		if err != nil {
			return nil, invalid("role", "%s: %s", name, reasonOf(err))
		}
		roles[name] = grants
	}
	return roles, nil
}

// Has reports whether a role is defined.
func (r Roles) Has(name string) bool { return r[name] != nil }
