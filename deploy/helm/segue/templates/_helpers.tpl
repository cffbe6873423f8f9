{{- define "segue.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- /* Labels of everything; of one target: dict "root" $ "target" name. */}}
{{- define "segue.labels" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .target }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "segue.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .target }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "segue.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* The settings in force: the shared file, what this release knows, what values say. */}}
{{- define "segue.config" -}}
{{- $name := include "segue.name" . }}
{{- $peers := list }}
{{- $scheme := "http" }}
{{- $rpc := dict }}
{{- if .Values.rpc.certificates }}
{{- $scheme = "https" }}
{{- $rpc = dict "cert" (dict "file" "/run/secrets/rpc/tls.crt") "key" (dict "file" "/run/secrets/rpc/tls.key") "ca" (dict "file" "/run/secrets/rpc/ca.crt") }}
{{- end }}
{{- range $target := keys .Values.targets | sortAlpha }}
{{- $peers = append $peers (printf "%s=dns+%s://%s-%s:9000" $target $scheme $name $target) }}
{{- end }}
{{- $known := dict
  "public-url" (required "publicURL is needed: the address of the player, such as https://music.example.org" .Values.publicURL)
  "rpc" (set $rpc "peers" $peers)
  "quic" (dict "public-host" (required "streamHost is needed: host:port by which devices reach the edges over UDP" .Values.streamHost) "site" $name)
}}
{{- mergeOverwrite (.Files.Get "files/cluster.yaml" | fromYaml) $known (deepCopy .Values.config) | toYaml }}
{{- end }}

{{- /* The engine that would hold a target's data, by the setting that names it, which is
      empty where it has none; "" is a target without data. */}}
{{- define "segue.store" -}}
{{- get (dict "user" "postgres.url" "upload" "postgres.url" "charts" "postgres.url" "playback" "cassandra.hosts" "metadata" "cassandra.hosts") . }}
{{- end }}

{{- /* Not empty where a target keeps its data in its own folder: one pod, with a disk. */}}
{{- define "segue.embedded" -}}
{{- $setting := splitList "." (include "segue.store" .target) }}
{{- if eq (len $setting) 2 }}
{{- $engine := get (include "segue.config" .root | fromYaml) (first $setting) | default dict }}
{{- if not (get $engine (last $setting)) }}yes{{ end }}
{{- end }}
{{- end }}

{{- define "segue.disk" -}}
{{- $t := get .root.Values.targets .target }}
{{- if or $t.spools (include "segue.embedded" .) }}{{ required (printf "targets.%s.disk is needed" .target) $t.disk }}{{ end }}
{{- end }}

{{- /* Not empty where a target's pods come and go with the load. */}}
{{- define "segue.scales" -}}
{{- $t := get .root.Values.targets .target }}
{{- if and .root.Values.autoscaling.enabled (gt (int $t.maxReplicas) (int $t.replicas)) (not (include "segue.embedded" .)) }}yes{{ end }}
{{- end }}

{{- /* A setting's variable. */}}
{{- define "segue.variable" -}}
SEGUE_{{ . | upper | replace "." "_" | replace "-" "_" }}
{{- end }}
