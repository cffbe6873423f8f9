// Command supply looks at what Segue is made of, for scripts/supply.sh:
//
//	supply licences           the licence of every Go and npm dependency, from its files
//	supply vulndb SRC DST     a vulnerability database for govulncheck, from its source
//	supply sbom BINARY BOM    whether a CycloneDX document lists what a binary holds
//	supply websbom BOM        whether one lists the player's packages, each with a licence
//
// It runs in the root of the repository and ends with 1 where something is wrong.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "supply:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch {
	case verb == "licences" && len(args) == 1:
		return licences(".", out)
	case verb == "vulndb" && len(args) == 3:
		return vulndb(args[1], args[2], out)
	case verb == "sbom" && len(args) == 3:
		return sbom(args[1], args[2], out)
	case verb == "websbom" && len(args) == 2:
		return webSBOM(args[1], out)
	}
	return fmt.Errorf("usage: supply licences | vulndb SRC DST | sbom BINARY BOM | websbom BOM")
}
