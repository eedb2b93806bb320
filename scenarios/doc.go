// Package scenarios is the scenario language: the types of a scenario and of
// the plan made from it, the strict loader with positions, and the shipped
// library of scenario files.
//
// In: YAML text and a JSON Schema composed by the harness from its tables.
// Out: Scenario (as written) and Plan (as resolved; written to and read from
// plan.yaml). It does no I/O of its own and imports nothing of this module.
package scenarios
