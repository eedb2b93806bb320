package reports

// Golden lets the tests outside of the package hold pages against files.
var Golden = golden
