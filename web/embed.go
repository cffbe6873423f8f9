// Package web holds the built web player, to be served at the root of the site.
package web

import (
	"embed"
	"io/fs"
)

// dist is what "npm run build" leaves in this folder. Only its .keep is
// committed: the package compiles before the player is built.
//
//go:embed all:dist
var dist embed.FS

//go:embed unbuilt
var unbuilt embed.FS

// Built reports whether the player is part of this binary.
func Built() bool {
	_, err := fs.Stat(dist, "dist/index.html")
	return err == nil
}

// Files returns the player's files: index.html, a few fixed names beside it,
// and assets/, whose names hold the hash of their content and never change.
// Every path that is no file is a page of the player: answer it with
// index.html. When the player was not built, index.html says so.
func Files() fs.FS {
	if Built() {
		return below(dist, "dist")
	}
	return below(unbuilt, "unbuilt")
}

func below(files embed.FS, dir string) fs.FS {
	sub, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // only for a name that is no path, and these are constants
	}
	return sub
}
