
  <!-- QEMU would keep up to 1 GiB of translated code for each guest; this much boots it as fast. -->
  <xsl:template match="/domain/features">
    <xsl:copy>
      <xsl:apply-templates select="@*|node()"/>
      <tcg>
        <tb-cache unit="MiB">128</tb-cache>
      </tcg>
    </xsl:copy>
  </xsl:template>
