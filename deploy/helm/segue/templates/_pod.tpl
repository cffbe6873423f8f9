{{- /* The pod of a target: dict "root" $ "target" name "t" its values "disk" its size or "". */}}
{{- define "segue.pod" -}}
{{- $name := include "segue.name" .root }}
{{- $v := .root.Values }}
{{- $files := list }}
{{- range $v.secretFiles }}
{{- if or (not .targets) (has $.target .targets) }}{{ $files = append $files . }}{{ end }}
{{- end -}}
serviceAccountName: {{ $name }}
automountServiceAccountToken: false
# Kubernetes would add variables such as SEGUE_USER_PORT, which are no settings: refused.
enableServiceLinks: false
terminationGracePeriodSeconds: 60
{{- with $v.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  # Only an empty volume is made ours: afterwards the keys keep their mode 0600.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
containers:
  - name: segue
    image: {{ include "segue.image" .root }}
    imagePullPolicy: {{ $v.image.pullPolicy }}
    args: [-config.file=/etc/segue/segue.yaml, -target={{ .target }}]
    env:
      - {name: GOMEMLIMIT, value: {{ .t.goMemLimit | quote }}}
      {{- if eq .target "edge" }}
      - name: SEGUE_QUIC_EDGE_ID
        valueFrom: {fieldRef: {fieldPath: metadata.name}}
      {{- end }}
      {{- range $i, $f := $files }}
      - {name: {{ include "segue.variable" $f.setting }}, value: /run/secrets/segue/{{ $i }}/{{ $f.key }}}
      {{- end }}
    {{- with $v.secretEnv }}
    envFrom:
      {{- range . }}
      - secretRef: {name: {{ . }}}
      {{- end }}
    {{- end }}
    {{- if ne .target "migrate" }}
    ports:
      - {name: rpc, containerPort: 9000}
      - {name: ops, containerPort: 9464}
      {{- if eq .target "gateway" }}
      - {name: http, containerPort: 8420}
      {{- else if eq .target "edge" }}
      - {name: quic, containerPort: 8420, protocol: UDP}
      {{- end }}
    startupProbe:
      httpGet: {path: /readyz, port: ops}
      periodSeconds: 2
      failureThreshold: 90
    livenessProbe:
      httpGet: {path: /livez, port: ops}
      periodSeconds: 15
      timeoutSeconds: 5
      failureThreshold: 3
    readinessProbe:
      httpGet: {path: /readyz, port: ops}
      periodSeconds: 5
      timeoutSeconds: 4
      failureThreshold: 2
    lifecycle:
      preStop:
        # Until every balancer has heard that this pod goes, it goes on.
        sleep: {seconds: 5}
    {{- end }}
    resources: {{- toYaml .t.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
      - {name: config, mountPath: /etc/segue, readOnly: true}
      - {name: ring, mountPath: /var/lib/segue-secrets}
      - {name: data, mountPath: /var/lib/segue}
      - {name: tmp, mountPath: /tmp}
      {{- if and $v.rpc.certificates (ne .target "migrate") }}
      - {name: rpc, mountPath: /run/secrets/rpc, readOnly: true}
      {{- end }}
      {{- range $i, $f := $files }}
      - {name: secret-{{ $i }}, mountPath: /run/secrets/segue/{{ $i }}, readOnly: true}
      {{- end }}
volumes:
  - name: config
    configMap: {name: {{ $name }}}
  - name: ring
    persistentVolumeClaim: {claimName: {{ $v.ring.existingClaim | default (printf "%s-ring" $name) }}}
  - name: tmp
    emptyDir: {sizeLimit: 1Gi}
  {{- if not .disk }}
  - name: data
    emptyDir: {sizeLimit: 4Gi}
  {{- end }}
  {{- if and $v.rpc.certificates (ne .target "migrate") }}
  - name: rpc
    secret: {secretName: {{ $v.rpc.certificates }}-{{ .target }}}
  {{- end }}
  {{- range $i, $f := $files }}
  - name: secret-{{ $i }}
    secret: {secretName: {{ $f.secret }}, items: [{key: {{ $f.key }}, path: {{ $f.key }}}]}
  {{- end }}
{{- if ne .target "migrate" }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "segue.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- with $v.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
